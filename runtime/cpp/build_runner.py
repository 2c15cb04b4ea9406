"""Build the C++ runner against the executorch wheel of this Python; its path is the last line on stdout.

`--target aarch64` cross-compiles against the aarch64 wheel of the same version, which is kept under ~/.cache/vlmprune.
Exit code 2: a tool is missing, and the line on stderr says how to get it; 1: the build failed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"
CACHE = Path(os.environ.get("VLMPRUNE_CACHE", Path.home() / ".cache" / "vlmprune"))
SITE, SCRIPTS = Path(sysconfig.get_path("platlib")), Path(sysconfig.get_path("scripts"))
MIN_CMAKE = (3, 28)
COMPILERS = {"native": ("c++", "g++"), "aarch64": ("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")}


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=list(COMPILERS), default="native")
    try:
        print(build(parser.parse_args().target))
    except FileNotFoundError as missing:
        print(f"build_runner: {missing}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as failed:
        print(f"build_runner: {failed.cmd[0]} failed", file=sys.stderr)
        return 1
    return 0


def build(target: str) -> Path:
    """The runner's path; `FileNotFoundError` says what is not installed."""
    compiler, package = COMPILERS[target]
    if not shutil.which(compiler):
        raise FileNotFoundError(f"{compiler} is not installed; on Debian: apt install {package}")
    cmake, folder = find_cmake(), BUILD / ("cpp" if target == "native" else f"cpp-{target}")
    settings = [f"-Dexecutorch_DIR={find_wheel(target) / 'share/cmake'}"]
    json = SITE / "nlohmann_json" / "include"
    if json.is_dir():
        settings.append(f"-DNLOHMANN_JSON_INCLUDE={json}")
    if target != "native":
        settings.append(f"-DCMAKE_TOOLCHAIN_FILE={HERE / 'toolchains' / (target + '-linux-gnu.cmake')}")
    _run(cmake, "-S", str(HERE), "-B", str(folder), *settings)
    _run(cmake, "--build", str(folder), "--parallel", str(len(os.sched_getaffinity(0))))
    return folder / "vlmprune-runner"


def find_cmake() -> str:
    """The first CMake that is new enough, of this Python before others."""
    for path in (shutil.which("cmake", path=str(SCRIPTS)), shutil.which("cmake")):
        told = subprocess.run([path, "--version"], capture_output=True, text=True).stdout if path else ""
        found = re.search(r"version (\d+)\.(\d+)", told)
        if path and found and tuple(map(int, found.groups())) >= MIN_CMAKE:
            return path
    raise FileNotFoundError("cmake 3.28 or newer is not installed; run: pip install 'cmake>=3.28'")


def find_wheel(target: str) -> Path:
    """The unpacked wheel's package folder."""
    try:
        wanted = version("executorch")
    except PackageNotFoundError:
        raise FileNotFoundError("executorch is not installed; run: pip install -e '.[executorch]'") from None
    return SITE / "executorch" if target == "native" else fetch_wheel(wanted, target)


def fetch_wheel(wanted: str, target: str) -> Path:
    """The wheel for another processor, downloaded once by pip and unpacked whole or not at all."""
    folder = CACHE / f"executorch-{wanted}-{target}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            unpacked = _unpacked_wheel(wanted, target, Path(scratch) / "wheel")
            try:
                unpacked.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    return folder / "executorch"


def _unpacked_wheel(wanted: str, target: str, folder: Path) -> Path:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    kind = ("--platform", f"manylinux_2_28_{target}", "--python-version", python)
    try:
        _run(*pip, *kind, f"executorch=={wanted.partition('+')[0]}", "--dest", str(folder))
    except subprocess.CalledProcessError:
        raise FileNotFoundError(f"pip cannot download the executorch {wanted} wheel for {target}") from None
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    wheel.unlink()
    return folder


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
