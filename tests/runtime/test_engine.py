"""The ONNX engine: caches, room, and graphs that are not what the manifest says."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from handmade_bundle import CONTEXT, entry, save_manifest
from handmade_graphs import D, K, N, weights
from numpy_model import attend

from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines import ENGINES, load_engine
from vlmprune_runtime.errors import BadRequest, BundleError, EngineError, UnknownName
from vlmprune_runtime.generate import Runner

ROWS = np.random.default_rng(1).standard_normal((9, D)).astype(np.float32)


def head(engine: Any, start: int, stop: int) -> np.ndarray:
    inputs = {
        "embeddings": ROWS[start:stop],
        "positions": np.arange(start, stop),
        "past_tokens": np.array([start], dtype=np.int32),
    }
    return engine.run("head", inputs)["hidden"]


def test_calls_in_parts_equal_one_call_and_the_reference(runner: Runner) -> None:
    whole = head(runner.engine, 0, 9)
    parts = [head(runner.engine, *ends) for ends in ((0, 4), (4, 5), (5, 6), (6, 9))]
    assert np.concatenate(parts) == pytest.approx(whole, abs=1e-5)
    assert whole == pytest.approx(attend(ROWS, np.arange(9)), abs=1e-5)


def test_a_new_prompt_forgets_the_old_one(runner: Runner) -> None:
    first = head(runner.engine, 0, 5)
    head(runner.engine, 5, 9)
    assert np.array_equal(head(runner.engine, 0, 5), first)


def test_outputs_are_the_callers(runner: Runner) -> None:
    first = head(runner.engine, 0, 5)
    saved = first.copy()
    head(runner.engine, 0, 9)
    assert np.array_equal(first, saved)


def test_inputs_are_cast_and_made_contiguous(runner: Runner) -> None:
    token_ids = np.arange(12, dtype=np.int32)[::2]
    found = runner.engine.run("embed", {"token_ids": token_ids})["embeddings"]
    assert np.array_equal(found, weights()["table"][token_ids])


def test_prune_gives_kept_fused_and_rank(runner: Runner) -> None:
    hidden = np.random.default_rng(2).standard_normal((N, D)).astype(np.float32)
    found = runner.engine.run("prune", {"hidden": hidden, "keys": hidden})
    chosen = np.argsort(-hidden.sum(axis=1))[:K]
    assert found["kept"].tolist() == sorted(chosen)
    assert [int(chosen[turn]) for turn in found["rank"]] == found["kept"].tolist()
    assert np.array_equal(found["fused"], hidden[found["kept"]] / 2)


def test_half_precision_cache(tmp_path: Path) -> None:
    from handmade_bundle import write_bundle

    engine = load_engine(open_bundle(write_bundle(tmp_path / "half", "float16")))
    parts = [head(engine, *ends) for ends in ((0, 4), (4, 9))]
    assert np.concatenate(parts) == pytest.approx(attend(ROWS, np.arange(9)), abs=2e-2)


def test_room(bundle_folder: Path) -> None:
    engine = load_engine(open_bundle(bundle_folder), context_tokens=8)
    head(engine, 0, 8)
    with pytest.raises(BadRequest, match="head: 9 tokens do not fit the context of 8"):
        head(engine, 0, 9)
    with pytest.raises(BadRequest, match="9 tokens"):
        head(engine, 8, 9)


@pytest.mark.parametrize("wish", [{"context_tokens": 0}, {"context_tokens": CONTEXT + 1}, {"threads": 0}])
def test_wishes_out_of_range(bundle_folder: Path, wish: dict[str, int]) -> None:
    with pytest.raises(BadRequest, match=next(iter(wish))):
        load_engine(open_bundle(bundle_folder), **wish)


def test_wrong_calls(runner: Runner) -> None:
    with pytest.raises(UnknownName, match="embed, head, prune, tail, vision"):
        runner.engine.run("middle", {})
    for inputs in (
        {},
        {"colours": ROWS},
        {"pixels": np.zeros((1, 3, 2, 2), np.float32)},
        {"pixels": np.array("a")},
    ):
        with pytest.raises(EngineError, match="vision") as caught:
            runner.engine.run("vision", inputs)
        assert "\n" not in str(caught.value)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """The manifest changed, and made to agree with the files again."""
    fields = json.loads((folder / "bundle.json").read_text())
    change(fields)
    fields["files"] |= {name: entry(folder / name) for name in fields["files"]}
    save_manifest(folder, fields)


def regraph(folder: Path, stage: str, change: Callable[[onnx.ModelProto], object]) -> None:
    """A graph changed, and its hash renewed."""
    path = folder / f"{stage}.onnx"
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    rewrite(folder, lambda fields: None)


def refused(folder: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        load_engine(open_bundle(folder))
    assert "\n" not in str(caught.value)
    return caught.value


def tensor(fields: dict[str, Any], stage: str, side: str, place: int = 0) -> dict[str, Any]:
    return fields["stages"][stage][side][place]


DECLARED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "missing": (lambda m: m["stages"]["prune"]["outputs"].pop(), "stages.prune"),
    "graph shape": (
        lambda m: tensor(m, "head", "inputs").update(graph_shape=["tokens", 1, D]),
        "stages.head.embeddings.graph_shape",
    ),
    "dtype": (
        lambda m: tensor(m, "vision", "inputs").update(dtype="uint8"),
        "stages.vision.inputs.pixels.dtype",
    ),
    "rank": (
        lambda m: tensor(m, "tail", "outputs").update(shape=[1, 258]),
        "stages.tail.outputs.logits.shape",
    ),
    "N": (lambda m: tensor(m, "vision", "outputs").update(shape=[15, D]), "stages.vision.outputs.features.shape"),
    "K": (lambda m: tensor(m, "prune", "outputs").update(shape=[5]), "stages.prune.outputs.kept.shape"),
    "fixed length": (
        lambda m: tensor(m, "head", "inputs").update(shape=[9, D]),
        "stages.head.inputs.embeddings.shape",
    ),
    "image": (lambda m: m["image"]["steps"][3].update(width_px=27), None),
}


@pytest.mark.parametrize("name", DECLARED)
def test_manifest_that_no_engine_can_feed(copied_folder: Path, name: str) -> None:
    change, field = DECLARED[name]
    rewrite(copied_folder, change)
    error = refused(copied_folder)
    assert (error.file, error.field) == ("bundle.json", field)


UNLIKE: dict[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "half": (
        lambda m: tensor(m, "embed", "outputs").update(dtype="float16"),
        "embed.onnx",
        "outputs.embeddings",
    ),
    "name": (lambda m: tensor(m, "embed", "inputs").update(name="ids"), "embed.onnx", "inputs"),
    "keys": (lambda m: tensor(m, "head", "outputs", 1).update(shape=["tokens", 9]), "head.onnx", "outputs.keys"),
    "cache dtype": (
        lambda m: m["stages"]["head"]["cache"].update(dtype="float16"),
        "head.onnx",
        "inputs.key0",
    ),
    "cache heads": (lambda m: m["stages"]["head"]["cache"].update(kv_heads=2), "head.onnx", "inputs.key0"),
    "cache name": (lambda m: m["stages"]["tail"]["cache"].update(outputs=["a", "b"]), "tail.onnx", "outputs"),
    "cache of the graph": (
        lambda m: m["stages"]["tail"]["cache"].update(owner="graph", capacity_tokens=9, inputs=[], outputs=[]),
        "tail.onnx",
        "inputs",
    ),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_graph_that_is_not_what_the_manifest_says(copied_folder: Path, name: str) -> None:
    change, file, field = UNLIKE[name]
    rewrite(copied_folder, change)
    error = refused(copied_folder)
    assert error.file == file
    assert error.field == f"stages.{file.removesuffix('.onnx')}.{field}"


def test_graph_of_fixed_length(copied_folder: Path) -> None:
    def fix(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 7

    regraph(copied_folder, "embed", fix)
    assert refused(copied_folder).field == "stages.embed.inputs.token_ids"


def test_file_that_is_no_graph(copied_folder: Path) -> None:
    (copied_folder / "prune.onnx").write_bytes(b"no graph")
    rewrite(copied_folder, lambda fields: None)
    with pytest.raises(EngineError, match="stage 'prune' failed") as caught:
        load_engine(open_bundle(copied_folder))
    assert "\n" not in str(caught.value)


def test_target_without_an_engine(copied_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(copied_folder, lambda fields: fields.update(target="coreml"))
    monkeypatch.delitem(ENGINES, "coreml")
    with pytest.raises(UnknownName, match="onnx"):
        load_engine(open_bundle(copied_folder))


POOL = """
import sys
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines import load_engine
from vlmprune_runtime.errors import BadRequest
import onnxruntime
bundle = open_bundle(sys.argv[1])
onnxruntime.InferenceSession(str(bundle.path("embed.onnx")), providers=["CPUExecutionProvider"])
load_engine(bundle, threads=3)
load_engine(bundle)
threads = len(__import__("os").listdir("/proc/self/task"))
load_engine(bundle, threads=3)
assert len(__import__("os").listdir("/proc/self/task")) == threads
try:
    load_engine(bundle, threads=2)
except BadRequest as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads through /proc")
def test_one_pool_for_the_whole_process(bundle_folder: Path) -> None:
    """Also when the process has used onnxruntime before; another size later is refused, not ignored."""
    done = subprocess.run([sys.executable, "-c", POOL, bundle_folder], capture_output=True, text=True)
    assert done.stdout == "threads: got 2, but this process has started its pool with 3\n", done.stderr
