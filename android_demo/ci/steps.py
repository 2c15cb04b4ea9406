"""How the build runs its programs and skips what is unchanged since the last build."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from artifacts import APP, BuildError, files

# Gradle builds below app/build, so nothing here is in its way.
BUILD = APP.parent / "build" / "ci"
REPO = APP.parents[1]
MIN_SDK, TARGET_SDK = 26, 36
PACKAGE = "org.vlmprune.demo"
VERSION_CODE, VERSION_NAME = 1, "0.1.0"


def run(command: list[str | Path], **options: object) -> str:
    """Runs a program and returns what it prints. Raises BuildError with its last lines when it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-40:])
        raise BuildError(f"{Path(command[0]).name} ended with {done.returncode}:\n{last}")
    return str(done.stdout + done.stderr)


def java(classpath: Iterable[Path], main: str, *arguments: str | Path, memory: str = "1g", short: bool = True) -> str:
    """Runs a Java program; a short one ends before the optimising compiler would pay."""
    options = ["-XX:+UseSerialGC", *(["-XX:TieredStopAtLevel=1"] if short else [])]
    path = os.pathsep.join(map(str, classpath))
    return run([java_home() / "bin" / "java", f"-Xmx{memory}", *options, "-cp", path, main, *arguments])


def java_home() -> Path:
    """Returns the JDK's folder. Raises BuildError if there is none."""
    if home := os.environ.get("JAVA_HOME"):
        return Path(home)
    if not (javac := shutil.which("javac")):
        raise BuildError("a JDK of 17 or more is needed; on Debian: apt install default-jdk")
    return Path(javac).resolve().parents[1]


def contents(paths: Iterable[Path]) -> list[Path]:
    """Returns all files in some folders, in a fixed order."""
    return sorted(p for root in paths for p in ([root] if root.is_file() else root.rglob("*")) if p.is_file())


def step(name: str, inputs: Iterable[Path], settings: object, outputs: list[Path], action: Callable[[], None]) -> None:
    """Runs an action unless its outputs are there and come from the same inputs and settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for path in contents(inputs):
        digest.update(f"{path}\0".encode())
        # What comes out of the checked cache is known by its name; the project's own files by what is in them.
        digest.update(path.read_bytes() if path.is_relative_to(REPO) else str(path.stat().st_size).encode())
    stamp = BUILD / f"{name}.stamp"
    if stamp.exists() and stamp.read_text() == digest.hexdigest() and all(path.exists() for path in outputs):
        return
    stamp.unlink(missing_ok=True)
    for path in outputs:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    action()
    stamp.write_text(digest.hexdigest())
    print(f"{time.monotonic() - start:6.1f} s  {name}", flush=True)


def framework() -> Path:
    """Returns Android's classes and resources, in the place of an SDK's android.jar."""
    (jar,) = files("framework")
    return jar


def jar_of(folder: Path) -> Path:
    """Returns the classes of a folder as a jar, for programs that take no folders."""
    path = BUILD / f"{folder.name}.jar"
    path.unlink(missing_ok=True)
    return Path(shutil.make_archive(str(path.with_suffix("")), "zip", folder)).rename(path)
