"""A package is a folder of files: all of them are listed and hashed, none is a link, none is extra."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; bundles with packages are NOT tested")

from mil_edits import WEIGHTS

from manifests import manifest_of
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.errors import BundleError

INSIDE = f"tail.mlpackage/{WEIGHTS.as_posix()}"


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "broken"))


def test_every_file_of_every_package_is_listed(bundle: Path) -> None:
    opened = open_bundle(bundle)
    for stage in opened.manifest.stages.values():
        [package] = stage.graph_files
        on_disk = {path.relative_to(bundle).as_posix() for path in (bundle / package).rglob("*") if path.is_file()}
        assert set(stage.files) == on_disk and on_disk <= set(opened.manifest.files)
        assert opened.path(package) == bundle / package
    assert opened.path(INSIDE).is_file()


def altered(bundle: Path) -> None:
    file = bundle / INSIDE
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def truncated(bundle: Path) -> None:
    file = bundle / INSIDE
    file.write_bytes(file.read_bytes()[:-1])


def missing(bundle: Path) -> None:
    (bundle / INSIDE).unlink()


def folder_missing(bundle: Path) -> None:
    shutil.rmtree(bundle / "tail.mlpackage")


def folder_is_a_file(bundle: Path) -> None:
    folder_missing(bundle)
    (bundle / "tail.mlpackage").write_bytes(b"")


def linked_file(bundle: Path) -> None:
    file = bundle / INSIDE
    file.rename(file.with_name("other.bin"))
    file.symlink_to("other.bin")


def linked_folder(bundle: Path) -> None:
    (bundle / "tail.mlpackage").rename(bundle / "elsewhere")
    (bundle / "tail.mlpackage").symlink_to("elsewhere")


def extra_file(bundle: Path) -> None:
    (bundle / "tail.mlpackage" / "Data" / "more.bin").write_bytes(b"1")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (altered, f"{INSIDE}: sha256: is not the file that was exported"),
        (truncated, f"{INSIDE}: size_bytes: is truncated"),
        (missing, f"{INSIDE}: is missing"),
        (folder_missing, "tail.mlpackage/Data/com.apple.CoreML/model.mlmodel: is missing"),
        (folder_is_a_file, "tail.mlpackage/Data/com.apple.CoreML/model.mlmodel: is missing"),
        (linked_file, f"{INSIDE}: is a link, or lies behind one"),
        (linked_folder, "tail.mlpackage/Data/com.apple.CoreML/model.mlmodel: is a link, or lies behind one"),
        (extra_file, "tail.mlpackage/Data/more.bin: files: is in the package, but not listed"),
    ],
)
def test_a_package_unlike_its_list_is_refused(broken: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(broken)
    with pytest.raises(BundleError, match=message):
        open_bundle(broken)


@pytest.mark.parametrize(
    "name",
    [
        "tail.mlpackage/../secret",
        "tail.mlpackage//secret",
        "tail.mlpackage/",
        "/tail.mlpackage/secret",
        "./tail.mlpackage/secret",
        "folder/tail.mlpackage",
        "tail.mlpackage/Data/.hidden",
        "tail.mlpackage\\secret",
    ],
)
def test_names_that_lead_elsewhere_are_refused(broken: Path, name: str) -> None:
    manifest = manifest_of(broken)
    manifest["files"][name] = manifest["files"][INSIDE]
    (broken / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="is not a plain file name"):
        open_bundle(broken)


def test_a_package_without_its_files_in_the_stage_is_refused(broken: Path) -> None:
    manifest = manifest_of(broken)
    manifest["stages"]["tail"]["data"] = []
    (broken / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"stages.tail: data has no tail.mlpackage/Manifest.json"):
        open_bundle(broken)
