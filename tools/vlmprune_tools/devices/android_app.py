"""Measures a bundle in the Android demo app, which an intent starts and which tells its progress in the log."""

import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.errors import DeviceError
from vlmprune_runtime.progress import Report
from vlmprune_tools.devices.adb import Adb
from vlmprune_tools.devices.settings import DeviceSettings

APPLICATION, ACTIVITY, TAG = "org.vlmprune.demo", ".MainActivity", "vlmprune"
FILES = PurePosixPath("/sdcard/Android/data") / APPLICATION / "files"
WRITTEN, FAILED, PROGRESS = "written", "failed", "progress"


@dataclass(frozen=True)
class AndroidApp:
    """Is the demo app on one device; `package` is an APK to install first."""

    adb: Adb
    package: Path | None = None
    targets: tuple[str, ...] = field(default=("onnx", "executorch"), init=False)

    @property
    def name(self) -> str:
        """The serial number of the device."""
        return self.adb.serial

    def prepare(self, report: Report) -> None:
        """Installs the app where that was asked for. Raises `DeviceError` if the device does not have it."""
        if self.package:
            report(f"installing {self.package.name}")
            self.adb.install(self.package)
        if not self.adb.try_shell("pm", "path", APPLICATION).strip():
            raise DeviceError(self.name, f"the app {APPLICATION} is not installed; give --apk FILE")

    def measure(self, bundle: OpenBundle, settings: DeviceSettings, report: Report) -> str:
        """Returns the benchmark record of a bundle as JSON text."""
        self.adb.push_bundle(bundle, FILES / "bundles" / bundle.folder.resolve().name, report)
        if settings.image:
            self.adb.push(settings.image, FILES / "images" / settings.image.name)
        record = f"{time.time_ns()}.json"
        self.adb.shell("am", "force-stop", APPLICATION)
        self.adb.shell(*_start(bundle, settings, record))
        self._wait(record, settings, report)
        return self.adb.shell("cat", str(FILES / "records" / record))

    def _wait(self, record: str, settings: DeviceSettings, report: Report) -> None:
        """Returns when the app has written the record. Raises `DeviceError` if it fails, ends or falls silent."""
        last, heard = "", time.monotonic()
        while True:
            word, _, rest = self._said(record).partition(" ")
            if word == WRITTEN:
                return
            if word == FAILED:
                raise DeviceError(self.name, rest)
            if f"{word} {rest}" != last:
                last, heard = f"{word} {rest}", time.monotonic()
                report(f"measuring, pair {rest.replace('/', ' of ')}" if word == PROGRESS else "loading the bundle")
            self._check_alive(record, time.monotonic() - heard, settings.patience_s)
            time.sleep(settings.pause_s)

    def _said(self, record: str) -> str:
        """Returns the last line that the app has logged about a record, without the record's name."""
        lines = self.adb.shell("logcat", "-d", "-v", "raw", "-s", f"{TAG}:I").splitlines()
        said = [line.removeprefix(record).strip() for line in lines if line.startswith(f"{record} ")]
        return said[-1] if said else ""

    def _check_alive(self, record: str, silent_s: float, patience_s: float) -> None:
        if not self.adb.try_shell("pidof", APPLICATION).strip() and self._said(record).partition(" ")[0] != WRITTEN:
            raise DeviceError(self.name, "the app has ended before its record was written; was memory short?")
        if silent_s > patience_s:
            raise DeviceError(self.name, f"the app has said nothing for {silent_s:.0f} s")


def _start(bundle: OpenBundle, settings: DeviceSettings, record: str) -> list[str]:
    """Returns the command that starts the app with a benchmark."""
    words = ["am", "start", "-W", "-n", f"{APPLICATION}/{ACTIVITY}", "--es", "bundle", bundle.folder.resolve().name]
    words += ["--ei", "pairs", str(settings.pairs), "--es", "record", record]
    words += ["--es", "prompt", settings.prompt] if settings.prompt is not None else []
    return words + (["--es", "image", settings.image.name] if settings.image else [])
