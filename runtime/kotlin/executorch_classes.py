"""Prints where ExecuTorch's Java classes lie, which are fetched by npm's client where they are not there yet.

No Maven repository that can be reached everywhere has them, but an npm package has the jar whole.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "react-native-executorch", "0.9.3"
SHA256 = "70a20a865b82f47ac46c82711d93c2038cf99eccbb9b287494219063f2217622"
MEMBER = "package/android/libs/classes.jar"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlmprune" / "android" / "npm"


def archive() -> Path:
    """Returns the package's archive. Raises `OSError` or `CalledProcessError` where it cannot be fetched."""
    path = CACHE / f"{PACKAGE}-{VERSION}.tgz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", folder]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            next(Path(folder).glob("*.tgz")).rename(path)
    return path


def classes() -> Path:
    """Returns the jar, unpacked from an archive whose SHA-256 is the expected one. Raises `ValueError` for another."""
    jar = CACHE / f"{PACKAGE}-{VERSION}-{SHA256[:8]}.jar"
    if not jar.exists():
        data = archive().read_bytes()
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise ValueError(f"{archive()} has another SHA-256 than {SHA256}")
        with tarfile.open(archive()) as tar:
            member = tar.extractfile(MEMBER)
            assert member is not None
            part = jar.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(member.read())
        part.replace(jar)
    return jar


if __name__ == "__main__":
    try:
        print(classes())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"NOT TESTED: the adapter to ExecuTorch's classes, which cannot be fetched: {error}", file=sys.stderr)
