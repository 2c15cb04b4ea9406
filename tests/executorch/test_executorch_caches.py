"""The two silent errors of ExecuTorch's memory: caches that other methods overwrite, and caches with two owners.

Neither raises anything: logits are a little off, and more so the longer the answer.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executorch_bundles import CONTEXT_TOKENS, QUICK, WHY
from transformers import LlavaForConditionalGeneration

from vlmprune_runtime.benchmark.loading import cache_bytes
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines import Engine, load_engine

STAGES = ("embed", "vision", "head", "prune", "tail")

pytest.importorskip("executorch.runtime", reason=WHY)

WIDTH, TOKENS = 48, 60


def rows(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)


def step(engine: Engine, stage: str, hidden: Any, past: int) -> Any:
    name, output = {"head": ("embeddings", "hidden"), "tail": ("hidden", "logits")}[stage]
    positions = np.arange(past, past + len(hidden))
    return engine.run(stage, {name: hidden, "positions": positions, "past_tokens": np.array([past], np.int32)})[output]


def run_everything_else(engine: Engine, stage: str) -> None:
    """Every other method, over as much memory as it ever takes."""
    pixels = np.random.default_rng(1).standard_normal((1, 3, 56, 56)).astype(np.float32)
    engine.run("vision", {"pixels": pixels})
    engine.run("embed", {"token_ids": np.arange(90)})
    engine.run("prune", {"hidden": rows(49, 1), "keys": np.repeat(rows(49, 2)[:, :8], 2, 1)})
    step(engine, "tail" if stage == "head" else "head", rows(96, 3), 0)


@pytest.mark.parametrize("stage", ["head", "tail"])
def test_other_methods_leave_a_cache_alone(bundle: Path, stage: str) -> None:
    engine = load_engine(open_bundle(bundle))
    step(engine, stage, rows(TOKENS), 0)
    expected = step(engine, stage, rows(1, 4), TOKENS)
    step(engine, stage, rows(TOKENS), 0)
    run_everything_else(engine, stage)
    np.testing.assert_array_equal(step(engine, stage, rows(1, 4), TOKENS), expected)


@pytest.mark.parametrize("stage", ["head", "tail"])
def test_decode_reads_what_prefill_wrote(bundle: Path, stage: str) -> None:
    """One call of S + 1 tokens, or one of S and one of 1: the last row is the same."""
    engine = load_engine(open_bundle(bundle))
    whole = step(engine, stage, rows(TOKENS), 0)
    step(engine, stage, np.zeros((96, WIDTH), np.float32), 0)
    step(engine, stage, rows(TOKENS)[:-1], 0)
    last = step(engine, stage, rows(TOKENS)[-1:], TOKENS - 1)
    np.testing.assert_allclose(
        last[-1] if stage == "head" else last, whole[-1] if stage == "head" else whole, atol=1e-6
    )


def test_every_cache_buffer_has_one_owner(bundle: Path) -> None:
    """A buffer that two methods share is one memory only where a runner shares arenas, which the stock ones do not."""
    owners = mutable_buffers(bundle / "model.pte")
    names = [name for found in owners.values() for name in found]
    assert {stage for stage, found in owners.items() if found} == {"head", "tail"}
    assert set(owners) >= set(STAGES)
    assert len(names) == len(set(names)) == 2 * 4


def test_the_benchmark_counts_caches_inside_the_methods(bundle: Path) -> None:
    """2 layers before the cut and 2 after it, 2 key heads of 8 numbers."""
    assert cache_bytes(open_bundle(bundle).manifest, {"head": 10, "tail": 4}) == 2 * (2 * 10 + 2 * 4) * 2 * 8 * 4


def test_without_shared_memory_planning_a_cache_is_overwritten(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head and tail lowered as `lower` does it, but for the one flag: what the first test holds no longer does."""
    from executorch.exir.passes import MemoryPlanningPass

    def careless(**_: object) -> MemoryPlanningPass:
        return MemoryPlanningPass(alloc_graph_input=False)

    module = import_module("vlmprune_export.backends.executorch.lower")
    monkeypatch.setattr(module, "MemoryPlanningPass", careless)
    assert not remembers(checkpoint, tmp_path / "careless.pte")
    monkeypatch.undo()
    assert remembers(checkpoint, tmp_path / "careful.pte")


def remembers(checkpoint: Path, path: Path) -> bool:
    """Whether the head's cache is the same after the tail ran."""
    import torch

    from vlmprune_export.backends.executorch.capture import capture
    from vlmprune_export.backends.executorch.lower import lower_programs
    from vlmprune_export.families import build_family
    from vlmprune_export.staged_model import StagedModel
    from vlmprune_runtime.engines.executorch_packages import load_packages

    staged = StagedModel(build_family(LlavaForConditionalGeneration.from_pretrained(checkpoint)), QUICK)
    entries = (staged.stages[name] for name in ("head", "tail"))
    programs = {entry.name: capture(staged, entry, entry.module, CONTEXT_TOKENS) for entry in entries}
    lower_programs(programs, {name: [] for name in programs}, {}, "portable", path)
    program = load_packages(None).runtime.load_program(path)
    head, tail = program.load_method("head"), program.load_method("tail")

    def run(method: Any, hidden: Any, past: int) -> Any:
        positions = torch.arange(past, past + len(hidden))
        return method.execute([torch.from_numpy(hidden), positions, torch.tensor([past], dtype=torch.int32)])[0].clone()

    run(head, rows(TOKENS), 0)
    expected = run(head, rows(1, 4), TOKENS)
    run(head, rows(TOKENS), 0)
    run(tail, rows(CONTEXT_TOKENS, 3), 0)
    return bool(torch.equal(run(head, rows(1, 4), TOKENS), expected))


def mutable_buffers(path: Path) -> dict[str, list[str]]:
    """Names of the buffers that each method of a .pte writes."""
    from executorch.exir._serialize._program import deserialize_pte_binary
    from executorch.exir.schema import Tensor

    plans = deserialize_pte_binary(path.read_bytes()).program.execution_plan
    values = {plan.name: [value.val for value in plan.values if isinstance(value.val, Tensor)] for plan in plans}
    named = {name: [tensor.extra_tensor_info for tensor in found] for name, found in values.items()}
    return {
        name: [info.fully_qualified_name for info in found if info and info.fully_qualified_name]
        for name, found in named.items()
    }
