"""Every way in which a bundle can be wrong is a `BundleError` that names file and field."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade_bundle import entry, save_manifest

from vlmprune_runtime.bundle import MAX_MANIFEST_BYTES, open_bundle, parse_manifest
from vlmprune_runtime.engines import load_engine
from vlmprune_runtime.errors import BundleError


def fields_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.json").read_text())


def broken(folder: Path, **options: bool) -> BundleError:
    """The error that opening gives, which must be one line."""
    with pytest.raises(BundleError) as caught:
        open_bundle(folder, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_whole_bundle_opens(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder)
    assert bundle.manifest.name == "handmade"
    assert bundle.path("head.onnx") == bundle_folder / "head.onnx"
    with pytest.raises(BundleError, match="not listed"):
        bundle.path("other.onnx")


@pytest.mark.parametrize("name", ["none", "with\0zero", "x" * 5000])
def test_missing_folder(tmp_path: Path, name: str) -> None:
    assert "no such folder" in str(broken(tmp_path / name))


def test_missing_manifest(tmp_path: Path) -> None:
    assert str(broken(tmp_path)) == "bundle: bundle.json: is missing"


TEXTS = {
    "empty": (b"", "is not JSON"),
    "cut": (b'{"schema": {"major": 2}, "na', "is not JSON"),
    "list": (b"[1]", "is not a JSON object"),
    "not utf-8": (b"\xff\xfe{}", "is not JSON"),
    "deep": (b"[" * 200_000, "is not JSON"),
    "deep object": (b'{"a":' * 200_000, "is not JSON"),
    "nan": (b'{"schema": NaN}', "is not JSON"),
    "long number": (b'{"schema": ' + b"1" * 5000 + b"}", "is not JSON"),
    "twice": (b'{"schema": 1, "schema": 1}', "there twice"),
    "huge": (b" " * (MAX_MANIFEST_BYTES + 1), "larger than"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_manifest_that_is_no_manifest(tmp_path: Path, name: str) -> None:
    data, reason = TEXTS[name]
    (tmp_path / "bundle.json").write_bytes(data)
    error = broken(tmp_path)
    assert error.file == "bundle.json"
    assert reason in str(error)


def refused(fields: dict[str, Any]) -> BundleError:
    with pytest.raises(BundleError) as caught:
        parse_manifest(json.dumps(fields))
    return caught.value


@pytest.mark.parametrize("version", [0, 1, 2, "1", None])
def test_the_first_version_is_refused_with_advice(version: object) -> None:
    error = refused({"schema_version": version, "name": "old"})
    assert error.field == "schema_version"
    assert "exported by an older vlmprune: export it again" in str(error)


@pytest.mark.parametrize(("major", "advice"), [(1, "export it again"), (0, "export it again"), (3, "update it")])
def test_another_major_version_comes_first(major: int, advice: str) -> None:
    error = refused({"schema": {"major": major, "minor": 0}, "from": "another time"})
    assert error.field == "schema.major"
    assert advice in str(error)


@pytest.mark.parametrize("version", [2, "2", None, [2], {}, {"major": "2", "minor": 0}, {"major": 2, "minor": 0.5}])
def test_a_version_that_is_none(version: object) -> None:
    assert refused({"schema": version}).field == "schema"


def test_fields_of_a_newer_minor_version_are_ignored(copied_folder: Path) -> None:
    fields = fields_of(copied_folder)
    expected = parse_manifest(json.dumps(fields))
    fields["colour"] = "red"
    fields["stages"]["head"]["inputs"][0]["taste"] = {"sweet": True}
    assert refused(fields).field in ("colour", "stages.head.inputs.0.taste")
    fields["schema"]["minor"] = 7
    read = parse_manifest(json.dumps(fields))
    assert read.version.minor == 7
    assert read.model_dump(exclude={"version"}) == expected.model_dump(exclude={"version"})
    fields["context_tokens"] = "64"
    assert refused(fields).field == "context_tokens"


def split(fields: dict[str, Any]) -> dict[str, Any]:
    """A step that cuts into tiles."""
    return {"step": "split", "tile_px": 28, "whole": "last", "kernel": fields["image"]["steps"][2]["kernel"]}


Change = Callable[[dict[str, Any]], object]
CHANGES: dict[str, tuple[Change, str | None]] = {
    "missing": (lambda m: m.pop("pruner"), "pruner"),
    "missing deep": (lambda m: m["stages"]["head"]["cache"].pop("layers"), "stages.head.cache.layers"),
    "unknown": (lambda m: m.update(colour="red"), "colour"),
    "unknown weird": (lambda m: m.update({"a\nb\x1b[2J": 1}), "'a\\nb\\x1b[2J'"),
    "wrong type": (lambda m: m.update(context_tokens="64"), "context_tokens"),
    "wrong size": (lambda m: m["stages"]["prune"]["inputs"][0]["shape"].append(0), None),
    "wrong dtype": (lambda m: m["stages"]["vision"]["inputs"][0].update(dtype="bf16"), None),
    "unknown stage": (lambda m: m["stages"].update(middle=m["stages"]["head"]), None),
    "missing stage": (lambda m: m["stages"].pop("prune"), None),
    "unlisted file": (lambda m: m["files"].pop("head.onnx"), None),
    "std zero": (lambda m: m["image"]["steps"][5].update(std=[1, 0, 1]), "image.steps.5.std.1"),
    "keep over": (lambda m: m["grids"][0].update(keep=[17]), None),
    "mosaic of no grid": (lambda m: m.update(mosaics=[{"rows": 1, "columns": 2, "grid": 1}]), None),
    "two mosaics alike": (lambda m: m.update(mosaics=[{"rows": 1, "columns": 2, "grid": 0}] * 2), None),
    "keep of no cut": (lambda m: m["grids"][0].update(keep=[4, 4]), None),
    "grid of another image": (lambda m: m["grids"][0].update(height_px=14), None),
    "cut without a stage": (lambda m: m["cuts"][0].update(stage="head"), None),
    "no cut": (lambda m: m["cuts"].clear(), None),
    "source of no stage": (lambda m: m["stages"]["prune"]["inputs"][0].update(source="neck.hidden"), None),
    "source of a later stage": (lambda m: m["stages"]["head"]["inputs"][0].update(source="tail.logits"), None),
    "source of no kind": (lambda m: m["stages"]["head"]["inputs"][0].update(source="?"), "stages.head.inputs.0.source"),
    "prefill in another order": (lambda m: m["prefill"].reverse(), None),
    "decode in another order": (lambda m: m["decode"].reverse(), None),
    "vision stage without features": (lambda m: m["stages"]["vision"]["outputs"].pop(), "stages.vision"),
    "decoder without a cache": (lambda m: m["stages"]["tail"].update(cache=None), "stages.tail"),
    "no graph": (lambda m: m["stages"]["tail"]["graphs"].clear(), None),
    "graph of no grid": (lambda m: m["stages"]["tail"]["graphs"][0].update(grid=1), None),
    "three axes in sequence": (lambda m: m["positions"].update(axes=3), "positions"),
    "grid of an image": (lambda m: m["image"].update(grid_width=5), "image.grid_width"),
    "no place for a question": (lambda m: m["prompt"]["segments"].pop(2), "prompt"),
    "no place for an image": (lambda m: m["prompt"]["segments"].pop(0), "prompt"),
    "image token in a text": (lambda m: m["prompt"]["segments"][1].update(text="<image>"), "prompt"),
    "further turn without a question": (
        lambda m: m["prompt"].update(follow_up={"segments": [], "standalone": True}),
        "prompt.follow_up",
    ),
    "temperature zero": (lambda m: m["generation"].update(temperature=0), "generation.temperature"),
    "negative stop token": (lambda m: m["generation"].update(stop_token_ids=[-1]), "generation.stop_token_ids.0"),
    "two edges": (lambda m: m["image"]["steps"][2]["to"].update(width_px=9), "image.steps.2.to.width_px"),
    "no edge": (lambda m: m["image"]["steps"][2]["to"].pop("edge_px"), "image.steps.2.to.edge_px"),
    "step of another version": (lambda m: m["image"]["steps"][3].update(step="sharpen"), "image.steps.3"),
    "steps out of order": (lambda m: m["image"]["steps"].reverse(), "image"),
    "step that is missing": (lambda m: m["image"]["steps"].pop(0), "image"),
    "two splits": (lambda m: m["image"]["steps"].__setitem__(slice(3, 4), [split(m), split(m)]), "image"),
    "another cubic": (lambda m: m["image"]["steps"][2]["kernel"].update(cubic_a=-0.75), "image.steps.2.kernel"),
    "another background": (lambda m: m["image"]["steps"][1].update(background=[0, 0, 0]), "image.steps.1.background.0"),
    "cache names": (lambda m: m["stages"]["tail"]["cache"].update(inputs=["key0"]), "stages.tail.cache"),
    "short hash": (lambda m: m["files"]["head.onnx"].update(sha256="ab"), "files.'head.onnx'.sha256"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_field(copied_folder: Path, name: str) -> None:
    change, field = CHANGES[name]
    fields = fields_of(copied_folder)
    change(fields)
    save_manifest(copied_folder, fields)
    error = broken(copied_folder)
    assert error.file == "bundle.json"
    assert field is None or error.field == field


NAMES = [
    "../head.onnx",
    "/etc/passwd",
    "a/b.onnx",
    "..",
    ".",
    "",
    "a\\b",
    "-x",
    "a\0b",
    "é.onnx",
    "\ud800",
    "a\n",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_plain_names(copied_folder: Path, name: str) -> None:
    fields = fields_of(copied_folder)
    fields["stages"]["head"]["graphs"][0]["file"] = name
    fields["files"][name] = fields["files"]["head.onnx"]
    save_manifest(copied_folder, fields)
    assert broken(copied_folder).file == "bundle.json"


def test_missing_file(copied_folder: Path) -> None:
    (copied_folder / "head.onnx").unlink()
    assert str(broken(copied_folder)) == "bundle: head.onnx: is missing"


@pytest.mark.parametrize("verify", [True, False])
def test_truncated_and_longer_file(copied_folder: Path, verify: bool) -> None:
    path = copied_folder / "tail.onnx"
    data = path.read_bytes()
    for changed, reason in ((data[:-1], "truncated"), (data + b"0", "too long")):
        path.write_bytes(changed)
        error = broken(copied_folder, verify=verify)
        assert (error.file, error.field) == ("tail.onnx", "size_bytes")
        assert reason in str(error)


def test_altered_file(copied_folder: Path) -> None:
    path = copied_folder / "embed.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    error = broken(copied_folder)
    assert (error.file, error.field) == ("embed.onnx", "sha256")
    open_bundle(copied_folder, verify=False)


def test_link_that_leads_outside(copied_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    (copied_folder / "vision.onnx").rename(outside)
    (copied_folder / "vision.onnx").symlink_to(outside)
    assert "outside" in str(broken(copied_folder, verify=False))


def in_hub_cache(folder: Path, cache: Path) -> Path:
    """The bundle as the hub's cache holds it: every file a link into the store of blobs."""
    snapshot, blobs = cache / "models--me--bundle" / "snapshots" / "0123abcd", cache / "models--me--bundle" / "blobs"
    blobs.mkdir(parents=True)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        blob, link = blobs / f"blob{len(list(blobs.iterdir()))}", snapshot / path.relative_to(folder)
        shutil.copyfile(path, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_links_into_the_blob_store_of_a_hub_cache(bundle_folder: Path, tmp_path: Path) -> None:
    snapshot = in_hub_cache(bundle_folder, tmp_path)
    bundle = open_bundle(snapshot)
    load_engine(bundle)
    stranger = tmp_path / "models--me--other" / "blobs" / "blob"
    stranger.parent.mkdir(parents=True)
    shutil.copyfile(bundle_folder / "vision.onnx", stranger)
    (snapshot / "vision.onnx").unlink()
    (snapshot / "vision.onnx").symlink_to(stranger)
    assert "vision.onnx: leads outside the bundle folder; copy the folder" in str(broken(snapshot))


def test_link_that_stays_inside_or_loops(copied_folder: Path) -> None:
    (copied_folder / "vision.onnx").rename(copied_folder / "real")
    (copied_folder / "vision.onnx").symlink_to("real")
    open_bundle(copied_folder)
    (copied_folder / "vision.onnx").unlink()
    (copied_folder / "vision.onnx").symlink_to("vision.onnx")
    assert broken(copied_folder).file == "vision.onnx"


def test_folder_and_pipe_in_place_of_a_file(copied_folder: Path) -> None:
    path = copied_folder / "prune.onnx"
    path.unlink()
    path.mkdir()
    assert "is not a file" in str(broken(copied_folder))
    path.rmdir()
    os.mkfifo(path)
    assert "is not a file" in str(broken(copied_folder))


def test_manifest_may_list_more_files(copied_folder: Path) -> None:
    (copied_folder / "LICENSE").write_text("free\n")
    fields = fields_of(copied_folder)
    fields["files"]["LICENSE"] = entry(copied_folder / "LICENSE")
    save_manifest(copied_folder, fields)
    assert "LICENSE" in open_bundle(copied_folder).manifest.files
