"""The libraries and programs of artifacts.lock: fetched by Maven's and npm's own clients, and checked by SHA-256."""

import functools
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
APP = HERE.parent / "app"
LOCK = HERE / "artifacts.lock"
CATALOGUE = HERE.parent / "gradle" / "libs.versions.toml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlmprune" / "android"
FETCH_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"


class BuildError(Exception):
    """A step of the build has failed; the message is what a person has to know."""


@dataclass(frozen=True)
class Artifact:
    """One file of a registry; `set` says what it is for, and `kind` is jar, aar, pom or npm."""

    set: str
    group: str
    name: str
    version: str
    kind: str
    sha256: str = ""

    def __str__(self) -> str:
        """Returns the artifact as artifacts.lock has it, without the SHA-256."""
        return f"{self.set} {self.group}:{self.name}:{self.version}:{self.kind}"

    def in_set(self, name: str) -> "Artifact":
        """Returns the same file for another purpose."""
        return replace(self, set=name)


# Two libraries for Android are in no Maven repository that can be reached everywhere, but lie whole in npm packages.
NPM_SHA256 = {
    ("com.github.asus4.onnxruntime", "0.4.9"): "e59788788818fdde1b2e522e766a21ba0f7d8391de55737abf81e32cc801785d",
    ("react-native-executorch", "0.9.3"): "70a20a865b82f47ac46c82711d93c2038cf99eccbb9b287494219063f2217622",
}
NPM = [Artifact("npm", "", name, version, "npm", sha256) for (name, version), sha256 in NPM_SHA256.items()]


@functools.cache
def catalogue() -> dict[str, Any]:
    """Returns the version catalogue that Gradle reads."""
    return tomllib.loads(CATALOGUE.read_text())


@functools.cache
def locked() -> list[Artifact]:
    """Returns what artifacts.lock lists."""
    rows = []
    for line in LOCK.read_text().splitlines():
        name, coordinates, sha256 = line.split(" ")
        rows.append(Artifact(name, *coordinates.split(":"), sha256=sha256))
    return rows


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def m2_path(artifact: Artifact) -> Path:
    """Returns where Maven keeps an artifact."""
    folder = Path.home() / ".m2" / "repository" / artifact.group.replace(".", "/") / artifact.name / artifact.version
    return folder / f"{artifact.name}-{artifact.version}.{artifact.kind}"


def npm_path(artifact: Artifact) -> Path:
    """Returns where the archive of an npm package is kept."""
    return CACHE / "npm" / f"{artifact.name}-{artifact.version}.tgz"


def fetch_maven(artifacts: list[Artifact]) -> None:
    """Fetches what Maven does not have yet, all at once; an artifact that cannot be had stays missing."""
    missing = sorted({a.in_set("") for a in artifacts if not m2_path(a).exists()}, key=str)
    if missing and not run_maven(missing) and len(missing) > 1:
        for part in (missing[: len(missing) // 2], missing[len(missing) // 2 :]):
            fetch_maven(part)


def run_maven(artifacts: list[Artifact]) -> bool:
    """Returns whether Maven has fetched all of the artifacts."""
    items = "".join(
        f"<artifactItem><groupId>{a.group}</groupId><artifactId>{a.name}</artifactId><version>{a.version}</version>"
        f"<type>{a.kind}</type></artifactItem>"
        for a in artifacts
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pom.xml").write_text(POM.format(items=items, folder=folder))
        command = ["mvn", "-q", "-B", "-f", folder, f"{FETCH_PLUGIN}:copy"]
        return (
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
        )


POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>org.vlmprune</groupId><artifactId>fetch</artifactId><version>1</version><packaging>pom</packaging>
<build><plugins><plugin><artifactId>maven-dependency-plugin</artifactId><version>3.6.1</version><configuration>
<outputDirectory>{folder}/out</outputDirectory><artifactItems>{items}</artifactItems>
</configuration></plugin></plugins></build></project>
"""


def fetch_npm(artifact: Artifact) -> None:
    """Fetches the archive of an npm package unless it is there."""
    path = npm_path(artifact)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = ["npm", "pack", f"{artifact.name}@{artifact.version}", "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        next(Path(folder).glob("*.tgz")).rename(path)


def files(*sets: str) -> list[Path]:
    """Returns the files of some sets, fetched where they are missing. Raises BuildError for another SHA-256."""
    wanted = [artifact for artifact in locked() if artifact.set in sets]
    fetch_maven([artifact for artifact in wanted if artifact.kind != "npm"])
    for artifact in wanted:
        if artifact.kind == "npm":
            fetch_npm(artifact)
    return [checked(artifact) for artifact in wanted]


def checked(artifact: Artifact) -> Path:
    """Returns where an artifact is. Raises BuildError if it is not there, or has another SHA-256."""
    path = npm_path(artifact) if artifact.kind == "npm" else m2_path(artifact)
    if not path.exists():
        raise BuildError(f"{artifact} could not be fetched")
    if (got := sha256_of(path)) != artifact.sha256:
        raise BuildError(f"{path} has another SHA-256 than artifacts.lock: got {got}, expected {artifact.sha256}")
    return path


def npm_member(name: str, member: str) -> Path:
    """Returns a file out of an npm package, unpacked once."""
    artifact = next(a for a in locked() if a.name == name)
    path = CACHE / "npm" / f"{artifact.name}-{artifact.version}" / member
    if not path.exists():
        fetch_npm(artifact)
        archive = checked(artifact)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar, tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as out:
            shutil.copyfileobj(tar.extractfile(f"package/{member}"), out)  # type: ignore[arg-type]
        Path(out.name).rename(path)
    return path
