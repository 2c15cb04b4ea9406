"""The Xcode project is read by two readers and walked by its ids; Xcode itself is not at hand where this runs."""

import json
import plistlib
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import openstep_plist
import pytest
from pbxproj import XcodeProject
from PIL import Image

APP = Path(__file__).parents[2] / "ios_demo"
PROJECT = APP / "VLMPruneDemo.xcodeproj" / "project.pbxproj"
ID = re.compile(r"[0-9A-F]{24}")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    fields: dict[str, Any] = openstep_plist.loads(PROJECT.read_text().split("\n", 1)[1], use_numbers=False)
    return fields


def test_a_second_reader_finds_the_targets() -> None:
    loaded = XcodeProject.load(str(PROJECT))
    assert [target.name for target in loaded.objects.get_targets()] == ["VLMPruneDemo", "VLMPruneDemoTests"]


def ids_of(value: Any) -> set[str]:
    """All object ids in a value."""
    if isinstance(value, dict):
        return set().union(*(ids_of(part) for part in value.values())) | {key for key in value if ID.fullmatch(key)}
    if isinstance(value, list):
        return set().union(*(ids_of(part) for part in value))
    return {value} if isinstance(value, str) and ID.fullmatch(value) else set()


def test_no_id_dangles_and_no_object_is_forgotten(project: dict[str, Any]) -> None:
    objects = project["objects"]
    mentioned = ids_of(list(objects.values())) | {project["rootObject"]}
    assert mentioned == set(objects)


def test_every_path_of_the_project_exists(project: dict[str, Any]) -> None:
    for one in project["objects"].values():
        path = one.get("relativePath") or (one.get("path") if one.get("sourceTree") == "<group>" else None)
        assert path is None or (APP / path).exists(), path
    settings = [one["buildSettings"] for one in project["objects"].values() if "buildSettings" in one]
    for key in ("INFOPLIST_FILE", "CODE_SIGN_ENTITLEMENTS"):
        assert {one[key] for one in settings if key in one} and all(
            (APP / one[key]).is_file() for one in settings if key in one
        )


def test_packages_have_the_products_that_are_asked_for(project: dict[str, Any]) -> None:
    objects = project["objects"].values()
    asked = {one["productName"] for one in objects if one["isa"] == "XCSwiftPackageProductDependency"}
    folders = [APP / one["relativePath"] for one in objects if one["isa"] == "XCLocalSwiftPackageReference"]
    offered = {
        name
        for folder in folders
        for name in re.findall(r'\.library\(\s*name: "(\w+)"', (folder / "Package.swift").read_text())
    }
    assert asked <= offered


def test_the_shared_scheme_names_the_projects_targets(project: dict[str, Any]) -> None:
    scheme = ElementTree.parse(PROJECT.parent / "xcshareddata" / "xcschemes" / "VLMPruneDemo.xcscheme")
    references = scheme.findall(".//BuildableReference")
    assert len(references) == 4
    for reference in references:
        assert project["objects"][reference.get("BlueprintIdentifier", "")]["name"] == reference.get("BlueprintName")


def test_the_app_asks_for_the_camera_for_files_and_for_memory_only() -> None:
    info = plistlib.loads((APP / "Info.plist").read_bytes())
    assert [key for key in info if key.startswith("NS")] == ["NSCameraUsageDescription"]
    assert info["UIFileSharingEnabled"] and info["LSSupportsOpeningDocumentsInPlace"]
    entitlements = plistlib.loads((APP / "VLMPruneDemo.entitlements").read_bytes())
    assert entitlements == {"com.apple.developer.kernel.increased-memory-limit": True}


def test_no_source_of_the_app_opens_a_connection() -> None:
    words = re.compile(r"URLSession|NWConnection|import Network\b|CFSocket|https?://")
    sources = [path for folder in ("App", "DemoModel/Sources") for path in (APP / folder).rglob("*.swift")]
    assert sources and not [path for path in sources if words.search(path.read_text())]


def test_asset_catalogues_are_whole() -> None:
    contents = sorted((APP / "App" / "Assets.xcassets").rglob("Contents.json"))
    assert len(contents) == 3
    for path in contents:
        for image in json.loads(path.read_text()).get("images", []):
            assert Image.open(path.parent / image["filename"]).size == (1024, 1024)


def test_the_walk_finds_an_object_that_is_missing() -> None:
    """The walk above must fail for a project with one object less."""
    fields = openstep_plist.loads(PROJECT.read_text().split("\n", 1)[1], use_numbers=False)
    del fields["objects"]["B00000000000000000000006"]
    with pytest.raises(AssertionError):
        test_no_id_dangles_and_no_object_is_forgotten(fields)


def test_the_sample_is_that_of_all_runners() -> None:
    sample = APP.parent / "runtime" / "vlmprune_runtime" / "sample.jpg"
    assert (APP / "App" / "sample.jpg").read_bytes() == sample.read_bytes()
