"""The Core ML engine on its reference: lengths and padding, what it refuses, what the commands say of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; the Core ML engine is NOT tested")

from coreml_bundles import CONTEXT_TOKENS, PROMPT
from mil_edits import INNER, edited

from follow_ups import check_follow_ups
from manifests import change_manifest, manifest_of
from stage_inputs import WIDTH, head_inputs
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.cli import bench, run
from vlmprune_runtime.engines import Engine, load_engine, reference_note
from vlmprune_runtime.engines import coreml as engine_module
from vlmprune_runtime.engines.coreml_native import NativePackage, check_macos
from vlmprune_runtime.errors import BadRequest, BundleError, EngineError, MissingExtra, UnknownName
from vlmprune_runtime.sample import SAMPLE_IMAGE

VOCABULARY = 96


@dataclass
class Counted:
    """Counts the calls of a function."""

    function: Callable[..., Any]
    calls: int = 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.function(*arguments)


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Engine:
    return load_engine(open_bundle(bundle))


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "broken"))


def tail_inputs(tokens: int, past: int = 0) -> dict[str, Any]:
    found = head_inputs(tokens, past)
    return {"hidden": found.pop("embeddings"), **found, "last_row": np.array([tokens - 1])}


def first(inputs: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The inputs of the first tokens alone."""
    cut = {name: value[:tokens] for name, value in inputs.items()}
    return cut | ({"last_row": np.array([tokens - 1])} if "last_row" in inputs else {})


def test_padding_changes_no_row(engine: Engine) -> None:
    long = engine.run("head", head_inputs(60))
    short = engine.run("head", first(head_inputs(60), 9))
    assert [value.shape for value in short.values()] == [(9, WIDTH), (9, 16)]
    for name, value in short.items():
        np.testing.assert_allclose(value, long[name][:9], atol=1e-5)


def test_the_last_real_row_is_the_answer(engine: Engine) -> None:
    """A short prompt takes a short function, a long one a long function: same rows, same logits."""
    rows = tail_inputs(40)
    short = first(rows, 20)
    expected = engine.run("tail", short)["logits"]
    assert expected.shape == (VOCABULARY,)
    noise = {**rows, "hidden": rows["hidden"].copy()}
    assert np.abs(engine.run("tail", noise)["logits"] - expected).max() > 1e-2
    np.testing.assert_allclose(engine.run("tail", short)["logits"], expected, atol=1e-5)


def test_decode_continues_a_padded_prefill(engine: Engine) -> None:
    """Rows of padding lie in the cache where decode writes next; all at once is the same as one after the other."""
    every = tail_inputs(24)
    expected = engine.run("tail", every)["logits"]
    engine.run("tail", first(every, 20))
    for past in range(20, 24):
        place = slice(past, past + 1)
        step = {"hidden": every["hidden"][place], "positions": every["positions"][place], "last_row": np.array([0])}
        found = engine.run("tail", {**step, "past_tokens": np.array([past])})["logits"]
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max() + 1e-3


@pytest.mark.parametrize("tokens", [22, 24, 52, 60, 85, CONTEXT_TOKENS])
def test_rows_behind_others_are_those_of_the_whole(
    engine: Engine, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call takes up to 32; its padding would lie behind the end of the cache in the longest case."""
    monkeypatch.setattr(engine, "_call", counted := Counted(engine._call))  # type: ignore[attr-defined]
    for stage, inputs in (("head", head_inputs(tokens)), ("tail", tail_inputs(tokens))):
        engine.run(stage, first(inputs, 20))
        counted.calls = 0
        rest = {name: value[20:] for name, value in inputs.items() if name not in ("past_tokens", "last_row")}
        if stage == "tail":
            rest["last_row"] = np.array([tokens - 21])
        found = engine.run(stage, {**rest, "past_tokens": np.array([20])})
        assert counted.calls == -(-(tokens - 20) // 32)
        expected = engine.run(stage, inputs)
        if stage == "tail":
            np.testing.assert_allclose(found["logits"], expected["logits"], atol=5e-3)
            continue
        assert found["hidden"].shape == (tokens - 20, WIDTH)
        np.testing.assert_allclose(found["hidden"], expected["hidden"][20:], atol=5e-3)


def test_a_bundle_without_a_decode_function_of_several_tokens_goes_one_by_one(broken: Path) -> None:
    """Bundles of before 2.3's last addition have none."""
    manifest = manifest_of(broken)
    head = manifest["stages"]["head"]
    head["graphs"] = [graph for graph in head["graphs"] if graph["entry"] != "decode_32"]
    change_manifest(broken, stages=manifest["stages"])
    engine, every = load_engine(open_bundle(broken)), head_inputs(24)
    expected = engine.run("head", every)["hidden"][20:]
    engine.run("head", first(every, 20))
    rest = {name: value[20:] for name, value in every.items() if name != "past_tokens"}
    np.testing.assert_allclose(
        engine.run("head", {**rest, "past_tokens": np.array([20])})["hidden"], expected, atol=5e-3
    )


def test_outputs_are_the_callers(engine: Engine) -> None:
    hidden = engine.run("head", head_inputs())["hidden"]
    hidden[:] = 7
    assert not (engine.run("head", head_inputs())["hidden"] == 7).any()


def test_a_text_that_is_too_long_names_the_lengths(broken: Path) -> None:
    manifest = manifest_of(broken)
    tail = manifest["stages"]["tail"]
    tail["graphs"] = [graph for graph in tail["graphs"] if graph["tokens"] < 60]
    change_manifest(broken, stages=manifest["stages"])
    with pytest.raises(BadRequest, match=r"tail: 90 tokens fit no function; it has room for: \d+"):
        load_engine(open_bundle(broken)).run("tail", tail_inputs(90))


@pytest.mark.parametrize(("tokens", "past"), [(CONTEXT_TOKENS + 1, 0), (1, CONTEXT_TOKENS), (2, CONTEXT_TOKENS - 1)])
def test_a_full_cache_is_refused(engine: Engine, tokens: int, past: int) -> None:
    with pytest.raises(BadRequest, match="do not fit the context of 96"):
        engine.run("head", head_inputs(tokens, past))


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("head", {"embeddings": np.zeros((9, WIDTH - 1), np.float32)}, r"embeddings: got shape \(9, 47\)"),
        ("head", {"past_tokens": np.array([-1], np.int32)}, "past_tokens: got -1, allowed: 0 or more"),
        ("head", {"positions": np.full(9, CONTEXT_TOKENS)}, "positions: got 96 to 96, allowed: 0 to 95"),
        ("head", {"extra": np.zeros(1)}, "got inputs"),
        ("embed", {"token_ids": np.array([VOCABULARY])}, "token_ids: got 96 to 96, allowed: 0 to 95"),
        ("embed", {"token_ids": np.array([-1])}, "token_ids: got -1 to -1"),
    ],
)
def test_wrong_inputs_are_refused(engine: Engine, stage: str, changes: dict[str, Any], message: str) -> None:
    inputs = head_inputs() if stage == "head" else {}
    with pytest.raises(EngineError, match=message):
        engine.run(stage, inputs | changes)


def test_an_unknown_stage_and_threads_are_refused(engine: Engine, bundle: Path) -> None:
    with pytest.raises(UnknownName, match="unknown stage 'body'"):
        engine.run("body", {})
    with pytest.raises(BadRequest, match="allowed: none for a coreml bundle"):
        load_engine(open_bundle(bundle), threads=2)


def test_a_package_that_was_altered_after_export(broken: Path) -> None:
    with edited(broken / "tail.mlpackage") as model:
        model.description.metadata.author = "somebody"
    with pytest.raises(BundleError, match=r"tail\.mlpackage/.*model\.mlmodel"):
        open_bundle(broken)


def test_a_function_that_is_missing(broken: Path) -> None:
    with edited(broken / "head.mlpackage") as model:
        del model.mlProgram.functions["decode"]
    change_manifest(broken)
    with pytest.raises(BundleError, match=r"head\.mlpackage: stages\.head\.graphs: has no function 'decode'"):
        load_engine(open_bundle(broken))


def test_a_function_that_the_manifest_does_not_name(broken: Path) -> None:
    manifest = manifest_of(broken)
    head = manifest["stages"]["head"]
    head["graphs"] = [graph for graph in head["graphs"] if graph["phase"] != "decode"]
    change_manifest(broken, stages=manifest["stages"])
    with pytest.raises(BundleError, match=r"stages\.head\.graphs: names no decode function"):
        load_engine(open_bundle(broken))


def test_another_specification_is_refused(broken: Path) -> None:
    with edited(broken / "vision.mlpackage") as model:
        model.specificationVersion = 10
    change_manifest(broken)
    with pytest.raises(BundleError, match="got specification version 10, this reference reads 9"):
        load_engine(open_bundle(broken))


def test_a_file_that_is_no_model(broken: Path) -> None:
    (broken / "prune.mlpackage" / INNER / "model.mlmodel").write_bytes(b"nothing")
    change_manifest(broken)
    with pytest.raises(BundleError, match=r"prune\.mlpackage: model\.mlmodel cannot be read"):
        load_engine(open_bundle(broken))


def test_run_answers_and_says_that_it_is_a_reference(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wishes = [str(bundle), "--image", str(SAMPLE_IMAGE), "--prompt", PROMPT, "--max-tokens", "3", "--json"]
    assert run.main(wishes) == 0
    shown = capsys.readouterr()
    assert "MIL reference" in shown.err
    assert "no device's" in " ".join(shown.err.split())
    assert len(json.loads(shown.out)["token_ids"]) <= 3


def test_bench_refuses_to_time_a_reference(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([str(bundle), "--repetitions", "1"]) == 2
    assert "cannot be timed here" in capsys.readouterr().err


def test_on_macos_core_ml_is_the_engine(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As far as it can be tried without a Mac: what would be loaded, and on which units."""
    asked = []

    class Native:
        def __init__(self, path: Path, units: str) -> None:
            asked.append((path.name, units))

    opened = open_bundle(bundle)
    monkeypatch.setattr(engine_module, "has_core_ml", lambda: True)
    monkeypatch.setattr("vlmprune_runtime.engines.coreml_native.NativePackage", Native)
    assert reference_note(opened) is None
    assert not load_engine(opened).reference  # type: ignore[attr-defined]
    advised = {name: stage.compute_units for name, stage in opened.manifest.stages.items()}
    assert asked == [(f"{name}.mlpackage", advised[name]) for name in ("embed", "vision", "head", "prune", "tail")]  # type: ignore[index]
    asked.clear()
    engine_module.CoreMLEngine(opened, None, CONTEXT_TOKENS, units="CPU_ONLY")
    assert {units for _, units in asked} == {"CPU_ONLY"}


def test_an_old_macos_and_unknown_units_are_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest, match=r"macOS: got 14\.5, allowed: 15 or newer"):
        check_macos("14.5")
    monkeypatch.setattr("platform.mac_ver", lambda: ("15.2", ("", "", ""), ""))
    with pytest.raises(UnknownName, match="unknown compute units 'NPU'"):
        NativePackage(bundle / "vision.mlpackage", "NPU")
    monkeypatch.setattr("vlmprune_runtime.engines.coreml_native.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="coreml"):
        NativePackage(bundle / "vision.mlpackage", "ALL")


def test_follow_ups_are_the_whole_conversation(bundle: Path, tmp_path: Path) -> None:
    """Up to 32 tokens a call through a decode function, as no prefill function goes on behind others."""
    check_follow_ups(bundle, tmp_path / "talking")
