"""Checkpoint folder to .pte to engine: every stage against eager PyTorch, pruned and unpruned, 32 tokens."""

from pathlib import Path

import pytest
from executorch_bundles import QUICK, WHY, checked, exported

import tiny
from follow_ups import check_follow_ups
from manifests import manifest_of
from tiny import write_checkpoint
from vlmprune_export.parity import LIMITS
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.sample import SAMPLE_IMAGE

pytest.importorskip("executorch.runtime", reason=WHY)


def passes(bundle: Path) -> None:
    report = checked(bundle)
    assert report.failures() == []
    assert [(answer.mode, answer.agreed) for answer in report.agreements] == [("pruned", 32), ("unpruned", 32)]
    assert max(gap.relative for gap in report.differences) < 1e-5
    assert all(gap.equal for gap in report.differences if gap.equal is not None)


def test_the_shared_bundle_passes_the_check(bundle: Path) -> None:
    passes(bundle)


def test_another_family_passes_the_check_on_portable_kernels(portable_bundle: Path) -> None:
    passes(portable_bundle)
    lowerings = [stage["lowering"] for stage in manifest_of(portable_bundle)["stages"].values()]
    assert {one["delegated_fraction"] for one in lowerings} == {0.0}


@pytest.mark.parametrize("quantisation", ["8da8w", "8da4w"])
def test_quantised_bundles_pass_their_limits(
    quantisation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}.items():
        monkeypatch.setitem(tiny._TEXT, name, value)  # groups of 32 divide these
    made = exported(
        write_checkpoint(tmp_path / "checkpoint", tied=True),
        tmp_path / "bundle",
        quantisation=quantisation,
        prune=QUICK,
    )
    report = checked(made)
    by_stage = {gap.stage: gap for gap in report.differences if gap.equal is None}
    assert all(1e-4 < by_stage[name].relative < LIMITS[quantisation].relative for name in ("vision", "embed", "head"))
    assert (by_stage["tail, pruned"].relative > 3 * by_stage["head"].relative) == (quantisation == "8da4w")
    assert all(gap.equal for gap in report.differences if gap.equal is not None)
    assert manifest_of(made)["stages"]["head"]["quantisation"] == "8da8w"


def test_the_manifest_says_how_each_stage_was_lowered(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    lowerings = {name: manifest.stage(name).lowering for name in ("vision", "embed", "head", "prune", "tail")}
    assert all(lowering and lowering.backend == "xnnpack" for lowering in lowerings.values())
    assert all(lowering and lowering.status == "runnable" for lowering in lowerings.values())
    assert {name for name, one in lowerings.items() if one and "llama::custom_sdpa.out" in one.operators} == {
        "head",
        "tail",
    }
    assert {name for name, one in lowerings.items() if one and one.delegated_fraction > 0.5} == {
        "vision",
        "head",
        "tail",
    }
    assert set(manifest.versions) >= {"torch", "executorch", "torchao"}
    assert {file for stage in manifest.stages.values() for file in stage.graph_files} == {"model.pte"}


def test_the_operators_are_those_of_the_file(bundle: Path) -> None:
    from executorch.exir._serialize._program import deserialize_pte_binary

    plans = {
        plan.name: plan for plan in deserialize_pte_binary((bundle / "model.pte").read_bytes()).program.execution_plan
    }
    for name, stage in open_bundle(bundle).manifest.stages.items():
        assert stage.lowering is not None
        found = {f"{one.name}.{one.overload}".rstrip(".") for one in plans[name].operators}
        assert set(stage.lowering.operators) == found


def test_constants_are_those_that_stock_runners_read(bundle: Path) -> None:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(bundle / "model.pte")
    read = {
        name: program.load_method(name).execute([]) for name in program.method_names if name.startswith(("get", "use"))
    }
    assert read["get_max_seq_len"] == read["get_max_context_len"] == [96]
    assert (read["get_bos_id"], read["get_eos_ids"], read["use_kv_cache"]) == ([1], [2], [True])


def test_an_answer_is_the_same_pruned_twice(bundle: Path) -> None:
    """The second answer starts on caches full of the first."""
    runner = open_runner(bundle)
    request = Request(SAMPLE_IMAGE, "what is in the picture ?", max_tokens=8)
    first = runner.answer(request)
    runner.answer(Request(SAMPLE_IMAGE, "is the dog left of the cat ?", prune=False, max_tokens=8))
    assert runner.answer(request).token_ids == first.token_ids


def test_the_checkpoint_is_put_back_after_quantising(tmp_path: Path) -> None:
    from vlmprune_export.backends.executorch.quantise import quantised
    from vlmprune_export.cuts import PruneOptions
    from vlmprune_export.families import build_family
    from vlmprune_export.staged_model import StagedModel

    model = tiny.tiny_llava(tied=True)
    before = {name: id(module) for name, module in model.named_modules()}
    staged = StagedModel(build_family(model), PruneOptions(keep=8))
    for name in ("vision", "embed", "head", "tail"):
        with quantised(staged, name, "8da4w"):
            assert {key: id(module) for key, module in model.named_modules()} != before
    assert {name: id(module) for name, module in model.named_modules()} == before


def test_follow_ups_are_the_whole_conversation(bundle: Path, tmp_path: Path) -> None:
    check_follow_ups(bundle, tmp_path / "talking")
