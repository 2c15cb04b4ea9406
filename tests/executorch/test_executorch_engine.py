"""The ExecuTorch engine: what it refuses, always with a typed error and a living process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executorch_bundles import CONTEXT_TOKENS, WHY

from manifests import change_manifest, manifest_of
from stage_inputs import WIDTH, head_inputs
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines import Engine, load_engine
from vlmprune_runtime.errors import BadRequest, BundleError, EngineError, MissingExtra, UnknownName

pytest.importorskip("executorch.runtime", reason=WHY)


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Engine:
    return load_engine(open_bundle(bundle))


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "broken"))


def test_outputs_are_the_callers(engine: Engine) -> None:
    first = engine.run("head", head_inputs())["hidden"]
    before = first.copy()
    engine.run("head", {**head_inputs(), "embeddings": np.ones((9, WIDTH), np.float32)})
    np.testing.assert_array_equal(first, before)


def test_other_dtypes_and_layouts_are_brought_into_form(engine: Engine) -> None:
    inputs = head_inputs()
    expected = engine.run("head", inputs)["hidden"]
    odd = {
        "past_tokens": np.zeros(1, np.int64),
        "positions": inputs["positions"].astype(np.int32),
        "embeddings": np.asfortranarray(inputs["embeddings"]),
    }
    np.testing.assert_array_equal(engine.run("head", odd)["hidden"], expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": np.zeros((9, WIDTH - 1), np.float32)}, r"embeddings: got shape \(9, 47\)"),
        ({"embeddings": np.zeros((8, WIDTH), np.float32)}, "got 8 and 9 tokens"),
        ({"embeddings": np.zeros((9, WIDTH, 1), np.float32)}, "embeddings: got shape"),
        ({"past_tokens": np.zeros(2, np.int32)}, r"past_tokens: got shape \(2,\)"),
        ({"past_tokens": np.array([-1], np.int32)}, "past_tokens: got -1, allowed: 0 or more"),
        ({"extra": np.zeros(1)}, "got inputs"),
    ],
)
def test_wrong_inputs_are_refused(engine: Engine, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        engine.run("head", head_inputs() | changes)


def test_no_tokens_are_refused(engine: Engine) -> None:
    with pytest.raises(EngineError, match="one length, 1 or more"):
        engine.run("head", head_inputs(0))


@pytest.mark.parametrize(("tokens", "past"), [(CONTEXT_TOKENS + 1, 0), (1, CONTEXT_TOKENS), (2, CONTEXT_TOKENS - 1)])
def test_a_full_cache_is_refused(engine: Engine, tokens: int, past: int) -> None:
    with pytest.raises(BadRequest, match="do not fit the context of 96"):
        engine.run("head", head_inputs(tokens, past))


def test_the_last_row_of_the_cache_can_be_used(engine: Engine) -> None:
    assert engine.run("head", head_inputs(1, CONTEXT_TOKENS - 1))["hidden"].shape == (1, WIDTH)


@pytest.mark.parametrize("token_id", [-1, 96, 2**40])
def test_a_token_without_an_embedding_is_refused(engine: Engine, token_id: int) -> None:
    with pytest.raises(EngineError, match="token_ids"):
        engine.run("embed", {"token_ids": np.array([1, token_id])})


def test_an_unknown_stage_is_refused(engine: Engine) -> None:
    with pytest.raises(UnknownName, match="unknown stage 'neck'"):
        engine.run("neck", {})


def _cut(size: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * size)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "is truncated: 0 bytes"),
        (lambda data: data[:20], "is truncated: 20 bytes"),
        (_cut(0.5), "is truncated: got"),
        (_cut(0.99), "is truncated: got"),
        (lambda data: data[:4] + b"ET11" + data[8:], "is not a .pte of this version: got b'ET11'"),
        (lambda data: data[:8] + b"xx" + data[10:], "no extended header"),
        (lambda data: b"PK" + data[2:4] + b"hello" * 40, "is not a .pte of this version"),
        (lambda data: data[:1] + b"\xff\xff\x7f" + data[4:], "cannot be loaded"),
        (lambda data: data[:64] + bytes(600) + data[664:], "cannot be loaded"),
    ],
)
def test_a_broken_file_is_refused(broken: Path, change: Callable[[bytes], bytes], message: str) -> None:
    path = broken / "model.pte"
    path.write_bytes(change(path.read_bytes()))
    change_manifest(broken)
    with pytest.raises((BundleError, EngineError), match=message):
        load_engine(open_bundle(broken))


def test_a_truncated_file_is_refused_before_loading(broken: Path) -> None:
    path = broken / "model.pte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"model.pte: size_bytes: is truncated"):
        open_bundle(broken)


def test_a_missing_method_is_named(broken: Path) -> None:
    path = broken / "model.pte"
    path.write_bytes(path.read_bytes().replace(b"vision\0", b"vizion\0"))
    change_manifest(broken)
    with pytest.raises(BundleError, match=r"model.pte: stages.vision: has no method 'vision'"):
        load_engine(open_bundle(broken))


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("head", {"operators": ["aten::add.out", "llama::nothing.out"]}, "lacks the operators llama::nothing.out"),
        ("tail", {"delegates": ["XnnpackBackend", "NoBackend"]}, "lacks the delegates NoBackend"),
    ],
)
def test_what_the_runtime_lacks_is_named(broken: Path, stage: str, changes: dict[str, Any], message: str) -> None:
    stages = manifest_of(broken)["stages"]
    stages[stage]["lowering"] |= changes
    change_manifest(broken, stages=stages)
    with pytest.raises(EngineError, match=f"stage '{stage}' failed: this ExecuTorch runtime {message}"):
        load_engine(open_bundle(broken))


@pytest.mark.parametrize(
    ("stage", "side", "field", "value"),
    [
        ("prune", "outputs", "dtype", "int32"),
        ("head", "outputs", "shape", ["tokens", 15]),
        ("embed", "outputs", "dtype", "float16"),
    ],
)
def test_a_method_unlike_its_manifest_is_refused(broken: Path, stage: str, side: str, field: str, value: Any) -> None:
    stages = manifest_of(broken)["stages"]
    stages[stage][side][-1][field] = value
    change_manifest(broken, stages=stages)
    with pytest.raises(BundleError, match=rf"model.pte: stages.{stage}.{side}\.\w+: method has .* manifest says"):
        load_engine(open_bundle(broken))


def test_a_missing_wheel_is_told_with_its_pip_line(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmprune_runtime.engines.executorch_packages.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install .*\[executorch\]'"):
        load_engine(open_bundle(bundle))


@pytest.mark.parametrize(("usable", "expected"), [({1}, 1), ({0, 1, 2, 3}, None)])
def test_no_more_threads_than_cores_to_run_on(
    usable: set[int], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlmprune_runtime.engines import executorch_packages

    monkeypatch.setattr("os.sched_getaffinity", lambda _: usable)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert executorch_packages.available_cores() == expected
