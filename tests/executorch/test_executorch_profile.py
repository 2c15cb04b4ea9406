"""`vlmprune-bench --profile`: the operators are those of the file; nothing here looks at how long anything took."""

import json
from pathlib import Path

import pytest
from executorch_bundles import WHY

from manifests import manifest_of
from vlmprune_runtime.benchmark.profile import OPERATORS, ProfileRecord, costs
from vlmprune_runtime.cli import bench
from vlmprune_runtime.engines.executorch_trace import OperatorTime, StageTrace

pytest.importorskip("executorch.runtime", reason=WHY)

GOLDEN = Path(__file__).parents[1] / "golden" / "bundle"
WISHES = ["--profile", "--repetitions", "2", "--warmups", "1", "--tokens", "3", "--prompt", "what is in the picture ?"]


def test_the_record_and_the_table_hold_every_stage(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "profile.json"
    assert bench.main([str(bundle), *WISHES, "--json", str(out)]) == 0
    [profile] = ProfileRecord.model_validate_json(out.read_text()).profiles
    stages = {stage.stage: stage for stage in profile.stages}
    assert list(stages) == ["embed", "vision", "head", "prune", "tail", "head, decode", "tail, decode"]
    assert {name: stage.calls for name, stage in stages.items()} == {
        **dict.fromkeys(("vision", "head", "prune", "tail"), 2),
        **dict.fromkeys(("head, decode", "tail, decode"), 4),
        "embed": 6,
    }
    assert all(0 < len(stage.operators) <= OPERATORS for stage in stages.values())
    for name, lowering in ((name, stage["lowering"]) for name, stage in manifest_of(bundle)["stages"].items()):
        kernels = {one.name for one in stages[name].operators if not one.delegated} - {"executorch_prim"}
        own = {operator.removeprefix("aten::") for operator in lowering["operators"]}
        assert {part for kernel in kernels for part in kernel.split(", ")} <= own
        assert lowering["delegates"] or not any(one.delegated for one in stages[name].operators)
    assert all(any(one.delegated for one in stages[name].operators) for name in ("vision", "head", "tail"))
    shown = capsys.readouterr().out
    assert "head, decode" in shown and "llama::custom_sdpa.out, llama::update_cache.out" in shown


def test_an_operator_in_a_loop_counts_every_round(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    assert bench.main([str(bundle), *WISHES, "--json", str(out)]) == 0
    [profile] = json.loads(out.read_text())["profiles"]
    [prune] = (stage for stage in profile["stages"] if stage["stage"] == "prune")
    # 4 pivots, 8 kept: at least one step that looks for the next tokens, and `where` thrice in it.
    assert max(one["uses"] for one in prune["operators"]) > 10


def test_medians_count_a_call_without_the_operator_as_nothing() -> None:
    def call(*operators: OperatorTime) -> StageTrace:
        return StageTrace("prune", 10.0, operators)

    add, where = OperatorTime("add.out", False, 2, 3.0), OperatorTime("where.out", False, 1, 9.0)
    [stage] = costs([call(add, where), call(add), call(add)])
    assert [(one.name, one.uses, one.ms) for one in stage.operators] == [("add.out", 2, 3.0), ("where.out", 1, 0.0)]


def test_the_costliest_come_first_and_no_more_than_ten() -> None:
    operators = tuple(OperatorTime(f"op{nth}.out", False, 1, float(nth)) for nth in range(14))
    [stage] = costs([StageTrace("tail", 99.0, operators)])
    assert [one.name for one in stage.operators] == [f"op{nth}.out" for nth in range(13, 3, -1)]


def test_an_engine_without_a_record_is_refused(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([str(bundle), str(GOLDEN), "--profile"]) == 2
    shown = capsys.readouterr()
    assert "engine 'onnx' of bundle records no operators; allowed: executorch" in shown.err
    assert shown.out == ""
