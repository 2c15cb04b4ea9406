"""Measures bundles on several devices side by side, and keeps every record that could be had."""

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vlmprune_runtime.atomic import save_text
from vlmprune_runtime.benchmark.record import BenchmarkRecord
from vlmprune_runtime.benchmark.run_metadata import ImageInfo
from vlmprune_runtime.bundle import OpenBundle, file_sha256
from vlmprune_runtime.errors import BadRequest, VlmPruneError, comma_list
from vlmprune_runtime.progress import Report, part_of
from vlmprune_tools.devices.adb import MANIFEST
from vlmprune_tools.devices.settings import DeviceSettings
from vlmprune_tools.report.reading import parse_record, read_record


class Device(Protocol):
    """Is one attached device with something on it that measures."""

    @property
    def name(self) -> str:
        """What tells the device from all others."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets of the bundles that it can measure."""

    def prepare(self, report: Report) -> None:
        """Brings what measures onto the device."""

    def measure(self, bundle: OpenBundle, settings: DeviceSettings, report: Report) -> str:
        """Returns the benchmark record of a bundle as JSON text."""


@dataclass(frozen=True)
class DeviceRun:
    """Holds the records that were written, those that were there before included, and a line for each failure."""

    records: tuple[Path, ...]
    failures: tuple[str, ...]


def check_targets(device: Device, bundles: Sequence[OpenBundle]) -> None:
    """Raises `BadRequest` for a bundle that the device cannot measure."""
    for bundle in bundles:
        if bundle.manifest.target not in device.targets:
            got = f"{bundle.folder}: was exported for {bundle.manifest.target}"
            raise BadRequest(f"{got}; allowed here: {comma_list(device.targets)}")


def measure_on_devices(
    devices: Sequence[Device],
    bundles: Sequence[OpenBundle],
    settings: DeviceSettings,
    out: Path,
    report: Report,
) -> DeviceRun:
    """Measures every bundle on every device, a device's bundles one after the other, and writes the records to `out`.

    A record of the same bundle, device and settings that is there already is not measured again. What fails on
    one device stops no other. Raises `BadRequest` before anything is measured, for two bundles of one name and for
    a file at a record's place that is no benchmark record.
    """
    check_names(bundles)
    works = [_work_of(device, bundles, settings, out) for device in devices]
    with ThreadPoolExecutor(len(works)) as threads:
        failures = list(
            threads.map(lambda work: _measure_all(work, settings, part_of(work.device.name, report)), works)
        )
    records = tuple(place for work in works for place in work.places if place.is_file())
    return DeviceRun(records, tuple(line for lines in failures for line in lines))


def check_names(bundles: Sequence[OpenBundle]) -> None:
    """Raises `BadRequest` for two bundles of one name, under which a device and `out` keep them."""
    names = [_plain(bundle.folder.resolve().name) for bundle in bundles]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadRequest(f"bundles: got two with the name {twice}; allowed: folders of different names")


def record_path(out: Path, device: str, bundle: OpenBundle) -> Path:
    """Returns where the record of a bundle on a device is kept."""
    return out / f"{_plain(device)}-{_plain(bundle.folder.resolve().name)}.json"


@dataclass(frozen=True)
class _Work:
    """Holds where a device's records are kept, and the bundles that are still to be measured with their places."""

    device: Device
    places: tuple[Path, ...]
    left: tuple[tuple[OpenBundle, Path], ...]


def _work_of(device: Device, bundles: Sequence[OpenBundle], settings: DeviceSettings, out: Path) -> _Work:
    places = tuple(record_path(out, device.name, bundle) for bundle in bundles)
    pairs = zip(bundles, places, strict=True)
    return _Work(device, places, tuple(pair for pair in pairs if not _is_measured(*pair, settings)))


def _measure_all(work: _Work, settings: DeviceSettings, report: Report) -> list[str]:
    """Measures what is left to do on a device, and returns a line for each failure."""
    device, failures = work.device, list[str]()
    for place in set(work.places) - {place for _, place in work.left}:
        report(f"{place} is there already")
    if not work.left or not _succeeds(lambda: device.prepare(report), device.name, failures):
        return failures
    for bundle, place in work.left:
        _succeeds(lambda: _measure_one(device, bundle, settings, place, report), device.name, failures)  # noqa: B023
    return failures


def _measure_one(device: Device, bundle: OpenBundle, settings: DeviceSettings, place: Path, report: Report) -> None:
    """Measures one bundle. A record that is not as its schema says is kept beside the place of the right one."""
    text = device.measure(bundle, settings, part_of(bundle.folder.resolve().name, report))
    try:
        parse_record(text, device.name)
    except BadRequest:
        save_text(text, place.with_suffix(".refused.txt"))
        raise
    save_text(json.dumps(json.loads(text), indent=1) + "\n", place)
    report(f"wrote {place}")


def _is_measured(bundle: OpenBundle, place: Path, settings: DeviceSettings) -> bool:
    """Says whether a record of this bundle and these settings is there. Raises `BadRequest` for another file."""
    if not place.exists():
        return False
    record = read_record(place)
    if not isinstance(record, BenchmarkRecord):
        raise BadRequest(f"{place}: is not a benchmark record; choose another --out")
    same_bundle = record.results[0].bundle.manifest_sha256 == file_sha256(bundle.folder / MANIFEST)
    same_prompt = settings.prompt in (None, record.settings.prompt)
    same_image = settings.image is None or _is_of(record.settings.image, settings.image)
    return same_bundle and same_prompt and same_image and record.settings.repetitions >= settings.pairs


def _is_of(image: ImageInfo, file: Path) -> bool:
    """Says whether a record's image is that of a file; the iOS app tells no hash, so that its name must do."""
    return image.name == file.name if image.sha256 is None else image.sha256 == file_sha256(file)


def _succeeds(action: Callable[[], None], device: str, failures: list[str]) -> bool:
    """Says whether an action went well, and else adds its one line to the failures."""
    try:
        action()
    except VlmPruneError as error:
        line = str(error)
        failures.append(line if device in line else f"{device}: {line}")
        return False
    return True


def _plain(name: str) -> str:
    """Returns a name that can be part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip(".") or "device"
