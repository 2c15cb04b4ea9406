"""Methods that may keep fewer tokens than K: PruMerge with its own number of centres, and any of them in a bundle."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pruner_inputs import inputs_of
from pruner_targets import RUNS, assert_equal_to_eager
from tiny import write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_export.pruners import Pruner, build_pruner
from vlmprune_runtime.errors import EngineError
from vlmprune_runtime.generate import open_runner
from vlmprune_runtime.prefill import start_prefill
from vlmprune_runtime.sample import SAMPLE_IMAGE
from vlmprune_runtime.selection import counted
from vlmprune_runtime.state import final_state

TOKENS, KEEP = 20, 7
PACKAGES = {"onnx": "onnx", "executorch": "executorch.runtime", "coreml": "coremltools"}


def prumerge(outliers: int, adaptive: bool = True, keep: int = KEEP) -> tuple[Pruner, list[Tensor]]:
    """The pruner, and inputs of which so many tokens draw far more attention than the others."""
    settings = {"neighbours": 4, "adaptive": adaptive}
    pruner = build_pruner("prumerge", grid=(4, 5), keep=keep, settings=settings, at="vision")
    hidden, tower_hidden, attention, keys = inputs_of(pruner, torch.randn(TOKENS, 12), seed=3)
    attention = 0.1 + 0.01 * attention
    attention[[17, 3, 11, 8, 5, 1, 13, 2][:outliers]] = torch.linspace(2.0, 1.0, 8)[:outliers]
    return pruner, [hidden, tower_hidden, attention, keys]


@pytest.mark.parametrize("outliers", range(5))
def test_the_centres_are_the_outliers(outliers: int) -> None:
    pruner, inputs = prumerge(outliers)
    kept, fused, rank, count = pruner(*inputs)
    attention = inputs[2].numpy()
    lower, upper = np.percentile(attention, (25, 75))
    centres = np.flatnonzero(attention > upper + 1.5 * (upper - lower))
    assert len(centres) == outliers and count.tolist() == [outliers + 1]
    last = max(set(range(TOKENS)) - set(centres.tolist()))
    assert kept.tolist() == sorted([*centres.tolist(), last]) + [-1] * (KEEP - outliers - 1)
    assert sorted(rank[: outliers + 1].tolist()) == list(range(outliers + 1))
    # With just that many tokens the method for a fixed number gives the same.
    fixed, _ = prumerge(outliers, adaptive=False, keep=outliers + 1)
    same_kept, same_fused, same_rank = fixed(*inputs)
    assert kept[: outliers + 1].tolist() == same_kept.tolist()
    assert rank[: outliers + 1].tolist() == same_rank.tolist()
    torch.testing.assert_close(fused[: outliers + 1], same_fused)


def test_no_more_than_k_stay() -> None:
    pruner, inputs = prumerge(5, keep=3)
    fixed, _ = prumerge(5, adaptive=False, keep=3)
    assert pruner(*inputs)[3].tolist() == [3]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(pruner(*inputs), fixed(*inputs), strict=False))


@pytest.mark.parametrize("target", RUNS)
def test_every_target_counts_alike(target: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[target], reason=f"the target {target} is not installed and NOT tested")
    pruner, inputs = prumerge(3)
    with torch.no_grad():
        assert_equal_to_eager(pruner, inputs, RUNS[target](pruner, inputs, tmp_path))


@pytest.mark.parametrize(("method", "settings"), [("prumerge", {}), ("saint", {"threshold": -1.0, "rounds": 3})])
def test_a_bundle_runs_with_as_many_tokens_as_are_counted(
    method: str, settings: dict[str, float], tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    prune = PruneOptions(method, keep=11, settings={"adaptive": True, **settings})
    bundle = export_bundle(ExportRequest(tmp_path / "bundle", str(checkpoint), prune=prune, context_tokens=96))
    assert check_bundle(CheckRequest(bundle, prompt="what ?", tokens=3)).failures() == []
    runner = open_runner(bundle)
    question = runner.ask("what ?", [SAMPLE_IMAGE])
    run = start_prefill(runner.bundle.manifest, runner.engine, question.prompt, question.pixels)
    state = final_state(run.run_all())
    [pruned], [selection] = run.outputs["prune"], state.selections
    assert len(selection.kept) == int(pruned["count"][0]) < 11
    assert state.past_tokens["tail"] == len(question.prompt.token_ids) - 49 + len(selection.kept)


@pytest.mark.parametrize("count", [0, 8])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    outputs = {"kept": np.arange(7), "fused": np.zeros((7, 2)), "rank": np.arange(7), "count": np.array([count])}
    with pytest.raises(EngineError, match=rf"count is {count}; allowed: 1 to 7"):
        counted("prune", outputs)
