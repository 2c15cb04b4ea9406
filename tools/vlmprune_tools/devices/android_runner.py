"""Measures a bundle on an Android device without an app: by the C++ runner, from the shell."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.cli.bench import DEFAULTS
from vlmprune_runtime.dump import PIXELS, PROMPT_IDS, dump
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.progress import Report
from vlmprune_tools.devices.adb import Adb
from vlmprune_tools.devices.settings import DeviceSettings

FOLDER = PurePosixPath("/data/local/tmp/vlmprune")


@dataclass(frozen=True)
class AndroidRunner:
    """Is the C++ runner on one device. `cores` is a mask for `taskset`, such as "f0" for the four large cores."""

    adb: Adb
    runner: Path
    cores: str | None = None
    targets: tuple[str, ...] = field(default=("executorch",), init=False)

    @property
    def name(self) -> str:
        """The serial number of the device."""
        return self.adb.serial

    def prepare(self, report: Report) -> None:
        """Copies the runner."""
        report(f"pushing {self.runner.name}")
        self.adb.push(self.runner, FOLDER / "vlmprune-runner")
        self.adb.shell("chmod", "755", str(FOLDER / "vlmprune-runner"))

    def measure(self, bundle: OpenBundle, settings: DeviceSettings, report: Report) -> str:
        """Returns the benchmark record of a bundle as JSON text; pixels and token ids are made here."""
        folder = FOLDER / "bundles" / bundle.folder.resolve().name
        self.adb.push_bundle(bundle, folder, report)
        question = FOLDER / "question"
        with tempfile.TemporaryDirectory() as scratch:
            report("preparing the question")
            request = Request(settings.image or DEFAULTS.image, settings.prompt or DEFAULTS.prompt)
            dump(open_runner(bundle.folder), request, Path(scratch) / "question")
            for name in (PIXELS, PROMPT_IDS):
                self.adb.push(Path(scratch) / "question" / name, question / name)
        report(f"measuring {settings.pairs} pairs")
        words = [str(FOLDER / "vlmprune-runner"), str(folder), "--pixels", str(question / PIXELS)]
        words += ["--prompt-ids", str(question / PROMPT_IDS), "--json", "--repetitions", str(settings.pairs)]
        return self.adb.shell(*(["taskset", self.cores] if self.cores else []), *words)
