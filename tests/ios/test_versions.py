"""The Swift package says which version of the project it is of."""

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_swift_package_has_the_version_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    source = (REPOSITORY / "runtime/swift/Sources/VLMPrune/Benchmark/Benchmark.swift").read_text()
    assert re.findall(r'let packageVersion = "(.+)"', source) == [project["version"]]


def test_the_app_has_the_number_of_that_version() -> None:
    project = (REPOSITORY / "ios_demo/VLMPruneDemo.xcodeproj/project.pbxproj").read_text()
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    [number] = set(re.findall(r"MARKETING_VERSION = ([\d.]+);", project))
    assert number == re.match(r"\d+\.\d+(\.\d+)?", version)[0]  # type: ignore[index]
