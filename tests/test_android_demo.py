"""The Android app's two ways to be built agree: Gradle for users, and Maven's and npm's parts where Gradle is not."""

import platform
import re
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "android_demo"
GRADLE = (DEMO / "app" / "build.gradle.kts").read_text()
CATALOGUE = tomllib.loads((DEMO / "gradle" / "libs.versions.toml").read_text())
# What Gradle takes from Maven and the other build from an npm package, and what the other build alone needs.
FROM_NPM = {"onnxruntime-android", "executorch-android"}
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}


def locked() -> dict[str, str]:
    lines = (DEMO / "ci" / "artifacts.lock").read_text().splitlines()
    coordinates = [line.split(" ")[1].split(":") for line in lines if line.split(" ")[0] in ("app", "test")]
    return {f"{group}:{name}": version for group, name, version, _ in coordinates}


@pytest.mark.parametrize("name", sorted(set(CATALOGUE["libraries"]) - FROM_NPM))
def test_both_builds_take_the_same_version(name: str) -> None:
    library = CATALOGUE["libraries"][name]
    assert locked()[library["module"]] == CATALOGUE["versions"][library["version"]["ref"]]


def test_gradle_depends_on_the_catalogue_and_on_nothing_else() -> None:
    named = set(re.findall(r"mplementation\(libs\.([\w.]+)\)", GRADLE))
    assert {name.replace(".", "-") for name in named} == set(CATALOGUE["libraries"])


@pytest.mark.parametrize("name", ["kotlin", "jackson", "coroutines", "onnxruntime"])
def test_the_runtime_is_built_with_the_same_versions(name: str) -> None:
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    pom = ElementTree.parse(ROOT / "runtime" / "kotlin" / "pom.xml")
    assert pom.findtext(f"m:properties/m:{name}.version", namespaces=space) == CATALOGUE["versions"][name]


@pytest.mark.parametrize("name", ["minSdk", "targetSdk", "versionCode"])
def test_both_builds_set_the_same_numbers(name: str) -> None:
    steps = (DEMO / "ci" / "steps.py").read_text()
    constants = (
        re.search(r"MIN_SDK, TARGET_SDK = (\d+), (\d+)", steps),
        re.search(r"VERSION_CODE, VERSION_NAME = (\d+), \"(.+)\"", steps),
    )
    assert constants[0] and constants[1]
    values = {"minSdk": constants[0][1], "targetSdk": constants[0][2], "versionCode": constants[1][1]}
    assert re.search(rf"{name} = (\d+)", GRADLE)[1] == values[name]  # type: ignore[index]


def test_the_wrapper_names_a_checksum() -> None:
    properties = (DEMO / "gradle" / "wrapper" / "gradle-wrapper.properties").read_text()
    assert re.search(r"^distributionSha256Sum=[0-9a-f]{64}$", properties, re.M)


def test_every_sentence_is_there_in_both_languages() -> None:
    names = []
    for folder in ("values", "values-de"):
        root = ElementTree.parse(DEMO / "app" / "src" / "main" / "res" / folder / "strings.xml").getroot()
        names.append({entry.get("name"): placeholders(entry) for entry in root if entry.get("translatable") != "false"})
    assert names[0] == names[1]


def placeholders(entry: ElementTree.Element) -> list[str]:
    return sorted(set(re.findall(r"%\d\$[sd]", "".join(entry.itertext()))))


@pytest.mark.skipif(sys.platform != "linux", reason="programs are no ELF files here")
def test_an_elf_file_says_what_it_needs() -> None:
    sys.path.insert(0, str(DEMO / "ci"))
    try:
        from elf import read_library
    finally:
        sys.path.pop(0)
    library = read_library(Path(sys.executable).resolve().read_bytes())
    assert library.machine == ELF_MACHINES[platform.machine()]
    assert any(name.startswith("libc.so") for name in library.needed)
    with pytest.raises(ValueError, match="ELF"):
        read_library(b"PK")
