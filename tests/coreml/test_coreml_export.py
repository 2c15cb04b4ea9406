"""What `--target coreml` writes: functions, caches, weights, descriptions; and what it refuses."""

import json
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; the Core ML target is NOT tested")

from coreml_bundles import CONTEXT_TOKENS, QUICK, checked, exported
from coremltools.proto import MIL_pb2, Model_pb2
from mil_edits import INNER, WEIGHTS, operations

import tiny
from manifests import manifest_of
from tiny import write_checkpoint
from vlmprune_export.backends.coreml.function_lengths import text_lengths
from vlmprune_export.backends.coreml.lint import count_operations
from vlmprune_export.cli import export
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.cli import inspect
from vlmprune_runtime.errors import BadRequest, LoweringError, MissingExtra, UnknownName
from vlmprune_runtime.installation import install_command

STAGES = ("vision", "embed", "head", "prune", "tail")
_FP16, _FP32, _INT32 = 10, 11, 23


@pytest.fixture(scope="module")
def lengthy(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fp16, int8, two text lengths."""
    options = {"text_tokens": "16,32"}
    return exported(checkpoint, tmp_path_factory.mktemp("lengthy") / "bundle", quantisation="int8", options=options)


def model_of(bundle: Path, stage: str) -> Any:
    model = Model_pb2.Model()
    model.ParseFromString((bundle / f"{stage}.mlpackage" / INNER / "model.mlmodel").read_bytes())
    return model


def dtypes(model: Any, function: str, kind: str) -> set[int]:
    found = (one for one in operations(model, function) if one.type == kind)
    return {one.outputs[0].type.tensorType.dataType for one in found}


def test_every_length_is_a_function(lengthy: Path) -> None:
    found = {
        name: [(graph.entry, graph.phase, graph.tokens) for graph in stage.graphs]
        for name, stage in open_bundle(lengthy).manifest.stages.items()
    }
    short, long, step = ("prefill", "prefill", 65), ("prefill_32", "prefill", 81), ("decode", "decode", 1)
    assert found["vision"] == found["prune"] == [("main", "any", None)]
    behind = ("decode_32", "decode", 32)
    assert [*found["embed"], behind] == found["head"] == [short, long, step, behind]
    assert [(name, tokens) for name, _, tokens in found["tail"]] == [
        ("prefill_pruned", 24), ("prefill_pruned_32", 40), ("prefill_full", 65), ("prefill_full_32", 81), ("decode", 1),
        ("decode_32", 32),
    ]  # fmt: skip
    for name in ("embed", "head", "tail"):
        described = model_of(lengthy, name).description
        assert {one.name for one in described.functions} == {function for function, _, _ in found[name]}
        assert described.defaultFunctionName == found[name][0][0]


def test_caches_are_states_in_whole_steps(lengthy: Path) -> None:
    assert CONTEXT_TOKENS % 32 == 0
    for name in ("head", "tail"):
        for function in model_of(lengthy, name).description.functions:
            shapes = {one.name: list(one.type.stateType.arrayType.shape) for one in function.state}
            assert shapes == {f"k_{name}": [2, 2, 96, 8], f"v_{name}": [2, 2, 96, 8]}


def test_a_context_between_steps_gets_a_larger_cache(checkpoint: Path, tmp_path: Path) -> None:
    made = exported(checkpoint, tmp_path / "bundle", context_tokens=70, prune=QUICK)
    [state, _] = model_of(made, "head").description.functions[0].state
    assert list(state.type.stateType.arrayType.shape) == [2, 2, 96, 8]
    assert manifest_of(made)["context_tokens"] == 70
    assert [one["tokens"] for one in manifest_of(made)["stages"]["head"]["graphs"]] == [70, 1, 32]


def test_functions_share_their_weights(lengthy: Path, bundle: Path) -> None:
    """Five functions of the tail do not take much more room than its parameters."""
    parameters = 2 * (48 * 48 * 2 + 48 * 16 * 2 + 3 * 48 * 80) + 96 * 48
    masks = 24**2 + 40**2 + 65**2 + 81**2
    assert (lengthy / "tail.mlpackage" / WEIGHTS).stat().st_size < 1.2 * (parameters + masks) + 8192
    assert (bundle / "tail.mlpackage" / WEIGHTS).stat().st_size > 4 * parameters


def test_only_what_must_be_is_fp32(lengthy: Path) -> None:
    for name in ("head", "tail"):
        model = model_of(lengthy, name)
        for function in model.mlProgram.functions:
            for kind in ("pow", "reduce_mean", "rsqrt"):
                assert dtypes(model, function, kind) == {_FP32}
            for kind in ("linear", "scaled_dot_product_attention", "slice_update", "silu"):
                assert dtypes(model, function, kind) <= {_FP16}
    prune = model_of(lengthy, "prune")
    assert dtypes(prune, "main", "matmul") == dtypes(prune, "main", "real_div") == {_FP32}


def test_int8_takes_linear_layers_and_the_table_only(lengthy: Path) -> None:
    counts = {name: count_operations(lengthy / f"{name}.mlpackage") for name in STAGES}
    for name, functions in counts.items():
        for function, found in functions.items():
            wanted = {"embed": 1, "prune": 0}.get(name, found["linear"])
            assert 0 <= found["constexpr_blockwise_shift_scale"] <= wanted, (name, function)
    assert all(found["constexpr_blockwise_shift_scale"] for found in counts["tail"].values())
    assert counts["prune"]["main"]["constexpr_blockwise_shift_scale"] == 0
    compressed = [
        one.inputs[key].arguments[0].name
        for one in operations(model_of(lengthy, "tail"), "decode")
        for key in one.inputs
        if one.type not in ("linear", "const")
        for shown in one.inputs[key].arguments
        if shown.name in _compressed(model_of(lengthy, "tail"), "decode")
    ]
    assert compressed == []


def _compressed(model: Any, function: str) -> set[str]:
    return {one.outputs[0].name for one in operations(model, function) if one.type.startswith("constexpr")}


@pytest.mark.parametrize(("kind", "wide"), [("int4", "INT4"), ("pal4", "UINT4")])
def test_four_bits_stay_in_the_tail_and_out_of_its_last_matrix(
    kind: str, wide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}.items():
        monkeypatch.setitem(tiny._TEXT, name, value)  # blocks of 32 and groups of 16 divide these
    made = exported(write_checkpoint(tmp_path / "checkpoint", tied=True), tmp_path / "bundle", quantisation=kind)
    assert checked(made).failures() == []
    head, tail = (weight_types(model_of(made, name), "decode") for name in ("head", "tail"))
    assert set(head) == {"INT8"}
    assert set(tail[:-1]) == {wide} and tail[-1] == "INT8"
    stages = manifest_of(made)["stages"]
    assert [stages[name]["quantisation"] for name in STAGES] == ["int8", "int8", "int8", "none", kind]


def test_the_head_can_stay_as_it_is_when_the_rest_is_quantised(checkpoint: Path, tmp_path: Path) -> None:
    options = {"head_bits": "16"}
    made = exported(checkpoint, tmp_path / "bundle", quantisation="int8", options=options, prune=QUICK)
    assert not _compressed(model_of(made, "head"), "decode")
    assert _compressed(model_of(made, "tail"), "decode")
    stages = manifest_of(made)["stages"]
    assert [stages[name]["quantisation"] for name in STAGES] == ["int8", "int8", "none", "none", "int8"]


def weight_types(model: Any, function: str) -> list[str]:
    """How the weights of linear layers are stored, in order."""
    made = {one.outputs[0].name: one for one in operations(model, function) if one.outputs}
    found = []
    for layer in (one for one in operations(model, function) if one.type == "linear"):
        weight = made[layer.inputs["weight"].arguments[0].name]
        for key in ("indices", "data"):
            if key in weight.inputs:
                [stored] = weight.inputs[key].arguments
                kind = stored.value.type if stored.HasField("value") else made[stored.name].outputs[0].type
                found.append(MIL_pb2.DataType.Name(kind.tensorType.dataType))
    return found


def test_packages_describe_themselves_as_the_manifest_does(lengthy: Path) -> None:
    manifest = manifest_of(lengthy)
    for name in STAGES:
        told = model_of(lengthy, name).description
        own, stage = dict(told.metadata.userDefined), manifest["stages"][name]
        assert json.loads(own["vlmprune.stage"]) == {key: value for key, value in stage.items() if key != "data"}
        pruner = json.loads(own["vlmprune.pruner"])
        grid, cut = manifest["grids"][0], manifest["cuts"][0]
        assert pruner == {
            "method": manifest["pruner"]["method"],
            "settings": manifest["pruner"]["settings"],
            "layer": cut["layer"],
            "visual_tokens": grid["height"] * grid["width"],
            "keep": grid["keep"][0],
        }
        assert own["vlmprune.context_tokens"] == str(CONTEXT_TOKENS)
        for graph in stage["graphs"]:
            assert f"{graph['entry']}: " in told.metadata.shortDescription
        for side in (told, *told.functions):
            assert all(one.shortDescription for one in (*side.input, *side.output, *side.state))


def test_the_manifest_advises_where_each_stage_should_run(lengthy: Path) -> None:
    stages = manifest_of(lengthy)["stages"]
    assert {name: stage["compute_units"] for name, stage in stages.items()} == {
        "vision": "CPU_AND_NE", "embed": "CPU_ONLY", "head": "CPU_AND_GPU", "prune": "CPU_ONLY", "tail": "CPU_AND_GPU",
    }  # fmt: skip
    assert all(len(stage["compute_units_reason"]) > 20 for stage in stages.values())


def test_the_same_export_is_the_same_files(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    again = exported(checkpoint, tmp_path / "bundle", options={"precision": "fp32"})
    assert manifest_of(again)["files"] == manifest_of(bundle)["files"]


def test_inspect_shows_packages(
    lengthy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    assert inspect.main([str(lengthy)]) == 0
    assert "tail.mlpackage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wishes", "error", "message"),
    [
        (
            {"options": {"deployment": "ios17"}},
            UnknownName,
            "unknown deployment 'ios17'; choose one of: ios18, macos15",
        ),
        (
            {"options": {"prune_form": "while"}},
            UnknownName,
            "unknown prune_form 'while'; choose one of: loop, unrolled",
        ),
        ({"options": {"text_tokens": "64;256"}}, BadRequest, "text tokens: got '64;256'; allowed: whole numbers"),
        ({"options": {"text_tokens": "0"}}, BadRequest, "text tokens: got '0'"),
        ({"options": {"backend": "xnnpack"}}, BadRequest, "target 'coreml' has no option 'backend'"),
        ({"quantisation": "8da4w"}, UnknownName, "unknown quantisation '8da4w'; choose one of: int4, int8, none, pal4"),
    ],
)
def test_wrong_wishes_are_refused(
    checkpoint: Path, tmp_path: Path, wishes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        exported(checkpoint, tmp_path / "bundle", **wishes)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_rule_fails_the_export_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("vlmprune_export.backends.coreml.lint"), "OPSETS", {})
    with pytest.raises(LoweringError, match=r"stage 'embed' could not be lowered to coreml: function '\w+': operation"):
        exported(checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_told_with_its_pip_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['coremltools'] = None\n"
        "from vlmprune_export.cli.export import main\n"
        f"sys.exit(main(['x', '--target', 'coreml', '--out', {str(tmp_path / 'bundle')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"coremltools is not installed; run: {install_command('coreml')}\n" in done.stderr
    assert issubclass(MissingExtra, BadRequest)


def test_options_of_the_command_reach_the_target(checkpoint: Path, tmp_path: Path, capsys: Any) -> None:
    wish = [str(checkpoint), "--target", "coreml", "--out", str(tmp_path / "bundle"), "--text-tokens", "none"]
    assert export.main(wish) == 2
    assert "text tokens: got 'none'" in capsys.readouterr().err


def test_lengths_never_exceed_the_context() -> None:
    assert text_lengths(None, 576, 1024) == (64, 256)
    assert text_lengths("300,20", 576, 600) == (20, 24)
    assert text_lengths("64", 576, 577) == (1,)


def test_counting_leaves_constants_out(bundle: Path) -> None:
    counted = count_operations(bundle / "prune.mlpackage")["main"]
    assert isinstance(counted, Counter) and "const" not in counted and counted["while_loop"] == 1
