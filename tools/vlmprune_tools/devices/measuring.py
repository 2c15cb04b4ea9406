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
    one device stops no other.
    """
    with ThreadPoolExecutor(len(devices)) as threads:
        runs = list(threads.map(lambda device: _measure_all(device, bundles, settings, out, report), devices))
    return DeviceRun(
        tuple(path for run in runs for path in run.records), tuple(line for run in runs for line in run.failures)
    )


def record_path(out: Path, device: str, bundle: OpenBundle) -> Path:
    """Returns where the record of a bundle on a device is kept."""
    return out / f"{_plain(device)}-{_plain(bundle.folder.resolve().name)}.json"


def _measure_all(
    device: Device, bundles: Sequence[OpenBundle], settings: DeviceSettings, out: Path, report: Report
) -> DeviceRun:
    told, places = part_of(device.name, report), [record_path(out, device.name, bundle) for bundle in bundles]
    left = [pair for pair in zip(bundles, places, strict=True) if not _is_measured(*pair, settings)]
    for place in set(places) - {place for _, place in left}:
        told(f"{place} is there already")
    failures: list[str] = []
    if left and not _succeeds(lambda: device.prepare(told), device.name, failures):
        left = []
    for bundle, place in left:
        _succeeds(lambda: _measure_one(device, bundle, settings, place, told), device.name, failures)  # noqa: B023
    return DeviceRun(tuple(place for place in places if place.is_file()), tuple(failures))


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
    return same_bundle and same_prompt and record.settings.repetitions >= settings.pairs


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
