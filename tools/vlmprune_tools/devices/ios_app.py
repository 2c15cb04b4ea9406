"""Measures a bundle in the iOS demo app through `xcrun devicectl`, which launch arguments start unattended.

The app writes `RECORD` into the folder `records` of its documents, and while it works one line into `RECORD.status`.
"""

import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.errors import DeviceError
from vlmprune_runtime.progress import Report
from vlmprune_tools.devices.adb import MANIFEST
from vlmprune_tools.devices.settings import DeviceSettings
from vlmprune_tools.devices.vendor_tool import VendorTool, call_tool

APPLICATION = "org.vlmprune.demo"
DOCUMENTS, PUSHED = "Documents", "pushed.json"
FAILED, PROGRESS = "failed", "progress"


def attached_iphones(tool: VendorTool = call_tool) -> list[str]:
    """Returns the identifiers of all paired iPhones and iPads."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "devices.json"
        tool(["xcrun", "devicectl", "list", "devices", "--quiet", "--json-output", str(place)])
        found: list[dict[str, Any]] = json.loads(place.read_text())["result"]["devices"]
    paired = [one for one in found if one.get("connectionProperties", {}).get("pairingState") == "paired"]
    return [one["identifier"] for one in paired if one.get("hardwareProperties", {}).get("platform") == "iOS"]


@dataclass(frozen=True)
class IosApp:
    """Is the demo app on one device; `package` is a built .app to install first."""

    identifier: str
    package: Path | None = None
    tool: VendorTool = call_tool
    targets: tuple[str, ...] = field(default=("coreml",), init=False)

    @property
    def name(self) -> str:
        """The identifier of the device."""
        return self.identifier

    def prepare(self, report: Report) -> None:
        """Installs the app where that was asked for."""
        if self.package:
            report(f"installing {self.package.name}")
            self._run("install", "app", str(self.package))

    def measure(self, bundle: OpenBundle, settings: DeviceSettings, report: Report) -> str:
        """Returns the benchmark record of a bundle as JSON text."""
        name = bundle.folder.resolve().name
        self._push_bundle(bundle, f"bundles/{name}", report)
        record = f"{time.time_ns()}.json"
        words = ["--bundle", name, "--pairs", str(settings.pairs), "--record", record]
        words += ["--prompt", settings.prompt] if settings.prompt is not None else []
        if settings.image:
            self._copy_to(settings.image, f"images/{settings.image.name}")
            words += ["--image", settings.image.name]
        self._run("process", "launch", "--terminate-existing", APPLICATION, *words)
        return self._wait(record, settings, report)

    def _push_bundle(self, bundle: OpenBundle, folder: str, report: Report) -> None:
        """Copies the files that are not on the device's list of copied files yet, and the manifest last."""
        entries = bundle.manifest.files
        done = _pushed(self._copy_from(f"{folder}/{PUSHED}"))
        missing = [name for name, entry in entries.items() if done.get(name) != entry.sha256]
        for nth, name in enumerate(missing, start=1):
            report(f"pushing {name} ({nth} of {len(missing)} files)")
            self._copy_to(bundle.folder / name, f"{folder}/{name}")
            done[name] = entries[name].sha256
            self._write(json.dumps(done), f"{folder}/{PUSHED}")
        self._copy_to(bundle.folder / MANIFEST, f"{folder}/{MANIFEST}")

    def _wait(self, record: str, settings: DeviceSettings, report: Report) -> str:
        """Returns the record when it is there. Raises `DeviceError` if the app fails or falls silent."""
        last, heard = None, time.monotonic()
        while not (text := self._copy_from(f"records/{record}")):
            said = (self._copy_from(f"records/{record}.status") or "").strip()
            word, _, rest = said.partition(" ")
            if word == FAILED:
                raise DeviceError(self.name, rest)
            if said != last:
                last, heard = said, time.monotonic()
                report(f"measuring, pair {rest.replace('/', ' of ')}" if word == PROGRESS else "loading the bundle")
            if (silent_s := time.monotonic() - heard) > settings.patience_s:
                raise DeviceError(self.name, f"the app has said nothing for {silent_s:.0f} s; was memory short?")
            time.sleep(settings.pause_s)
        return text

    def _write(self, text: str, target: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / Path(target).name
            place.write_text(text)
            self._copy_to(place, target)

    def _copy_to(self, source: Path, target: str) -> None:
        self._run("copy", "to", "--source", str(source), "--destination", f"{DOCUMENTS}/{target}", *_container())

    def _copy_from(self, source: str) -> str | None:
        """Returns the text of a file of the app, or None if it is not there."""
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "file"
            try:
                self._run(
                    "copy", "from", "--source", f"{DOCUMENTS}/{source}", "--destination", str(place), *_container()
                )
            except DeviceError:
                return None
            return place.read_text() if place.is_file() else None

    def _run(self, *words: str) -> str:
        kind, action, *further = words
        command = ["xcrun", "devicectl", "device", kind, action, "--device", self.identifier, *further]
        try:
            return self.tool(command)
        except DeviceError as error:
            raise DeviceError(self.name, error.reason) from None


def _container() -> tuple[str, ...]:
    """Returns the options that name the app's own files."""
    return ("--domain-type", "appDataContainer", "--domain-identifier", APPLICATION)


def _pushed(listed: str | None) -> dict[str, str]:
    """Returns the hash of every file that a device's list names; all are copied anew if it cannot be read."""
    try:
        done = json.loads(listed or "{}")
    except ValueError:
        return {}
    return done if isinstance(done, dict) else {}
