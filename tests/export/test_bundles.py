"""Checkpoint folder to bundle to engine: exported graphs against eager PyTorch, on every family."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from follow_ups import check_follow_ups
from tiny import TEXTS, TOWERS, write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.parity import LIMITS, CheckReport, CheckRequest, check_bundle
from vlmprune_runtime.bundle import file_sha256, open_bundle
from vlmprune_runtime.engines import load_engine
from vlmprune_runtime.errors import BadRequest, LoweringError, ParityError, UnknownName
from vlmprune_runtime.prompt import render

PROMPT = "what is in the picture ?"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), tied=True)


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(checkpoint, tmp_path_factory.mktemp("bundles") / "plain")


def exported(checkpoint: Path, out: Path, **wishes: object) -> Path:
    request = ExportRequest(out, str(checkpoint), prune=PruneOptions(keep=8), context_tokens=96)
    return export_bundle(replace(request, **wishes))  # type: ignore[arg-type]


def checked(bundle: Path, **wishes: object) -> CheckReport:
    return check_bundle(replace(CheckRequest(bundle, prompt=PROMPT, tokens=16), **wishes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "tower"), [*((t, "clip") for t in TEXTS), *(("llama", t) for t in TOWERS)][1:])
def test_every_family_passes_the_check(text: str, tower: str, tmp_path: Path) -> None:
    made = exported(write_checkpoint(tmp_path / "checkpoint", text, tower), tmp_path / "bundle")
    report = checked(made)
    assert report.failures() == []
    assert {gap.stage for gap in report.differences} >= {"vision", "embed", "head", "prune", "tail, pruned"}
    assert max(gap.relative for gap in report.differences) < 1e-5


@pytest.mark.parametrize("quantisation", ["int8", "int4"])
@pytest.mark.parametrize("tied", [True, False])
def test_quantised_bundles_pass_their_limits(quantisation: str, tied: bool, tmp_path: Path) -> None:
    made = exported(
        write_checkpoint(tmp_path / "checkpoint", tied=tied), tmp_path / "bundle", quantisation=quantisation
    )
    report = checked(made)
    by_stage = {gap.stage: gap for gap in report.differences if gap.equal is None}
    assert by_stage["head"].relative > 1e-5, "nothing was quantised"
    assert all(gap.relative < LIMITS[quantisation].relative for gap in by_stage.values())
    assert all(gap.equal for gap in report.differences if gap.equal is not None)


def test_tied_embeddings_are_stored_once(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert "embed.onnx.data" in manifest.stage("tail").data
    table_bytes = 96 * 48 * 4
    assert (bundle / "embed.onnx.data").stat().st_size == table_bytes
    layers_bytes = (bundle / "head.onnx.data").stat().st_size
    assert (bundle / "tail.onnx.data").stat().st_size < layers_bytes + table_bytes // 2  # two layers in each


def test_graphs_hold_no_paths_of_the_exporting_machine(bundle: Path) -> None:
    for path in bundle.glob("*.onnx"):
        assert str(Path(__file__).parents[2]).encode() not in path.read_bytes(), path.name


def test_the_manifest_says_what_was_asked(bundle: Path, checkpoint: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert (manifest.visual_tokens, manifest.keep, manifest.layer) == (49, 8, 2)
    assert manifest.grids[0].mean_visual_tokens == pytest.approx((2 * 49 + 2 * 8) / 4)
    assert manifest.pruner.settings["pivots"] == 4
    assert render(manifest.prompt, "why?") == "<s>USER: <image>why? ASSISTANT:"
    assert not manifest.prompt.add_special_tokens
    assert manifest.source.model == str(checkpoint)
    assert manifest.context_tokens == 96


def test_all_files_are_as_readable_as_the_manifest(tmp_path: Path) -> None:
    made = exported(write_checkpoint(tmp_path / "checkpoint"), tmp_path / "bundle", quantisation="int8")
    assert len({path.stat().st_mode for path in made.iterdir()}) == 1


def test_an_altered_weight_is_caught_by_the_check(bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    data = np.fromfile(broken / "tail.onnx.data", np.float32)
    data[: data.size // 2] *= 1.5
    data.tofile(broken / "tail.onnx.data")
    _sign(broken)
    failures = checked(broken).failures()
    assert any(isinstance(failure, ParityError) and "tail" in str(failure) for failure in failures)


def test_a_shifted_position_is_caught_by_the_check(bundle: Path, tmp_path: Path) -> None:
    """RoPE of the decode step off by one: what goes wrong silently after pruning."""
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    model = onnx.load(str(broken / "tail.onnx"), load_external_data=False)
    model.graph.initializer.append(onnx.helper.make_tensor("one", onnx.TensorProto.INT64, [], [1]))
    model.graph.node.insert(0, onnx.helper.make_node("Mod", ["positions", "seven"], ["wrapped"]))
    model.graph.initializer.append(onnx.helper.make_tensor("seven", onnx.TensorProto.INT64, [], [7]))
    for node in list(model.graph.node)[1:]:
        for at, name in enumerate(node.input):
            if name == "positions":
                node.input[at] = "wrapped"
    (broken / "tail.onnx").write_bytes(model.SerializeToString())
    _sign(broken)
    assert checked(broken).failures()


def test_another_checkpoint_is_refused(bundle: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", "qwen2", tied=True)
    with pytest.raises(BadRequest, match="not the checkpoint that this bundle was made from"):
        checked(bundle, model=str(other))


def test_a_smaller_cache_gives_the_same_logits(bundle: Path) -> None:
    opened = open_bundle(bundle)
    inputs = {
        "embeddings": np.random.default_rng(0).standard_normal((9, 48)).astype(np.float32),
        "positions": np.arange(9),
        "past_tokens": np.zeros(1, np.int32),
    }
    wide, narrow = (load_engine(opened, context_tokens=tokens).run("head", inputs) for tokens in (96, 9))
    np.testing.assert_array_equal(wide["hidden"], narrow["hidden"])


def test_out_must_not_exist(checkpoint: Path, bundle: Path) -> None:
    with pytest.raises(BadRequest, match="add --force"):
        exported(checkpoint, bundle)


def test_force_replaces_bundles_only(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadRequest, match="not a bundle"):
        exported(checkpoint, tmp_path, force=True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_failed_export_leaves_nothing(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(sys.modules["vlmprune_export.backends.onnx.lower"], "fuse_for_onnxruntime", fail)
    with pytest.raises(LoweringError, match=r"stage 'embed' could not be lowered to onnx: no such operator"):
        exported(checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_old_bundle(
    checkpoint: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle, tmp_path / "bundle")
    monkeypatch.setattr("vlmprune_export.export_bundle.estimate", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exported(checkpoint, tmp_path / "bundle", force=True)
    assert open_bundle(tmp_path / "bundle").manifest.keep == 8


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"target": "tflite"}, "unknown target 'tflite'; choose one of: .*onnx"),
        ({"quantisation": "int3"}, "unknown quantisation 'int3'"),
        ({"context_tokens": 49}, "context: got 49 tokens; allowed: 50 to 256"),
        ({"context_tokens": 257}, "context: got 257 tokens"),
        ({"model": "/nowhere/at/all"}, "no folder '/nowhere/at/all'"),
    ],
)
def test_wrong_wishes_are_refused(checkpoint: Path, tmp_path: Path, wishes: dict[str, object], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        exported(checkpoint, tmp_path / "bundle", **wishes)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_checkpoint(tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    weights.pop(sorted(name for name in weights if "q_proj" in name)[0])
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadRequest, match=r"lacks 1 weights, '.*q_proj.weight' among them"):
        exported(folder, tmp_path / "bundle")


@pytest.mark.parametrize("content", ["not json", '{"model_type": "gpt2"}', "{}"])
def test_a_wrong_checkpoint_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises((BadRequest, UnknownName)):
        exported(tmp_path, tmp_path / "bundle")


def test_unknown_names_list_the_choices(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="choose one of: int4, int8, none"):
        exported(checkpoint, tmp_path / "bundle", quantisation="fp8")


def file_fields(path: Path) -> dict[str, Any]:
    return {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}


def _sign(bundle: Path) -> None:
    """Bring sizes and hashes up to date, as a careless tool would."""
    path = bundle / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {name: file_fields(bundle / name) for name in manifest["files"]}
    path.write_text(json.dumps(manifest))


def test_follow_ups_are_the_whole_conversation(bundle: Path, tmp_path: Path) -> None:
    check_follow_ups(bundle, tmp_path / "talking")
