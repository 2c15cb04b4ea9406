"""Speaks to one Android device through `adb`: files, their hashes, and commands of its shell."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.errors import BadRequest, DeviceError
from vlmprune_runtime.progress import Report
from vlmprune_tools.devices.vendor_tool import VendorTool, call_tool

MANIFEST = "bundle.json"
NOT_READY = {
    "unauthorized": "waits for your consent; unlock it and allow USB debugging",
    "offline": "does not answer; plug it in again",
    "no permissions": "may not be opened by this user; see adb's udev rules",
}


def attached_androids(tool: VendorTool = call_tool) -> list[str]:
    """Returns the serial numbers of all devices that are ready. Raises `DeviceError` for one that is not."""
    lines = tool(["adb", "devices"]).splitlines()
    found = [line.split("\t", 1) for line in lines if "\t" in line]
    for serial, state in found:
        problem = next((text for word, text in NOT_READY.items() if state.startswith(word)), None)
        if problem:
            raise DeviceError(serial, problem)
    return [serial for serial, state in found if state.strip() == "device"]


@dataclass(frozen=True)
class Adb:
    """Is the connection to the device with this serial number."""

    serial: str
    tool: VendorTool = call_tool

    def shell(self, *words: str) -> str:
        """Runs one command of the device's shell, word by word as given here, and returns its stdout."""
        return self._run("shell", shlex.join(words))

    def try_shell(self, *words: str) -> str:
        """As `shell`, but nothing is returned for a command that fails."""
        try:
            return self.shell(*words)
        except DeviceError:
            return ""

    def push(self, source: Path, target: PurePosixPath) -> None:
        """Copies one file to the device."""
        self.shell("mkdir", "-p", str(target.parent))
        self._run("push", str(source), str(target))

    def install(self, package: Path) -> None:
        """Installs an APK, or a newer version of it, and keeps the app's files."""
        self._run("install", "-r", str(package))

    def push_bundle(self, bundle: OpenBundle, folder: PurePosixPath, report: Report) -> None:
        """Copies the files that the device does not have yet, whole, and the manifest last.

        Hashes are compared, so a copy that was broken off goes on where it stood.
        """
        entries = bundle.manifest.files
        there = self.hashes(folder, [*entries, MANIFEST])
        missing = [name for name, entry in entries.items() if there.get(name) != entry.sha256]
        for nth, name in enumerate(missing, start=1):
            report(f"pushing {name} ({nth} of {len(missing)} files)")
            self.push(bundle.folder / name, folder / name)
        after = self.hashes(folder, entries) if missing else there
        for name, entry in entries.items():
            if after.get(name) != entry.sha256:
                raise DeviceError(self.serial, f"{name} arrived otherwise than it was sent; is the device's disk full?")
        self.push(bundle.folder / MANIFEST, folder / MANIFEST)

    def hashes(self, folder: PurePosixPath, names: Iterable[str]) -> Mapping[str, str]:
        """Returns the SHA-256 of those of the files that are there."""
        lines = self.try_shell(
            "sh", "-c", f"cd {shlex.quote(str(folder))} && sha256sum {shlex.join(names)} 2>/dev/null; true"
        )
        found = (line.split(maxsplit=1) for line in lines.splitlines())
        return {pair[1].lstrip("*"): pair[0] for pair in found if len(pair) == 2}

    def _run(self, *arguments: str) -> str:
        try:
            return self.tool(["adb", "-s", self.serial, *arguments])
        except BadRequest:
            raise
        except DeviceError as error:
            raise DeviceError(self.serial, error.reason) from None
