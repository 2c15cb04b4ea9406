"""Every way in which a bundle can be wrong is a `BundleError` that names file and field."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade_bundle import entry, save_manifest

from vlmprune_runtime.bundle import MAX_MANIFEST_BYTES, open_bundle, parse_manifest
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
    "cut": (b'{"schema_version": 1, "na', "is not JSON"),
    "list": (b"[1]", "is not a JSON object"),
    "not utf-8": (b"\xff\xfe{}", "is not JSON"),
    "deep": (b"[" * 200_000, "is not JSON"),
    "deep object": (b'{"a":' * 200_000, "is not JSON"),
    "nan": (b'{"schema_version": NaN}', "is not JSON"),
    "long number": (b'{"schema_version": ' + b"1" * 5000 + b"}", "is not JSON"),
    "twice": (b'{"schema_version": 1, "schema_version": 1}', "there twice"),
    "huge": (b" " * (MAX_MANIFEST_BYTES + 1), "larger than"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_manifest_that_is_no_manifest(tmp_path: Path, name: str) -> None:
    data, reason = TEXTS[name]
    (tmp_path / "bundle.json").write_bytes(data)
    error = broken(tmp_path)
    assert error.file == "bundle.json"
    assert reason in str(error)


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None, [1]])
def test_unknown_version_comes_first(version: object) -> None:
    with pytest.raises(BundleError) as caught:
        parse_manifest(json.dumps({"schema_version": version, "from": "the future"}))
    assert caught.value.field == "schema_version"
    assert "this runtime reads 1" in str(caught.value)


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
    "unknown stage": (lambda m: m["stages"].update(middle=m["stages"]["head"]), "stages.middle"),
    "missing stage": (lambda m: m["stages"].pop("prune"), None),
    "unlisted file": (lambda m: m["files"].pop("head.onnx"), None),
    "std zero": (lambda m: m["image"]["steps"][5].update(std=[1, 0, 1]), "image.steps.5.std.1"),
    "keep over": (lambda m: m["pruner"].update(keep=17), "pruner"),
    "grid": (lambda m: m["image"].update(grid_width=5), None),
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
    fields["stages"]["head"]["file"] = name
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
