"""Compares one stage in two engines on identical inputs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.decode import extend_steps
from vlmprune_runtime.engines import Engine, Tensors
from vlmprune_runtime.prefill import Prefill, start_prefill
from vlmprune_runtime.progress import Report, silent
from vlmprune_runtime.prompt import EncodedPrompt
from vlmprune_runtime.schema import Pipeline
from vlmprune_runtime.state import State, final_state

Array = npt.NDArray[Any]
DECODE_STEPS, FOLLOW_UP_TOKENS = 3, 5


@dataclass(frozen=True)
class Difference:
    """The difference of one output of one stage; `equal` is for integer outputs, which have no distance."""

    stage: str
    output: str
    max_abs: float
    relative: float
    equal: bool | None = None


@runtime_checkable
class ShowsCache(Protocol):
    """An engine whose KV cache can be read."""

    def cached(self, stage: str) -> tuple[Array, Array] | None:
        """Returns keys and values of a decoder stage, each (layers, kv_heads, tokens or more, head_dim)."""


class ComparingEngine:
    """Runs every stage in two engines on the inputs that the first one's results lead to, and records differences.

    Its outputs are the reference's. `label` is added to the names of decoder stages.
    """

    def __init__(self, pipeline: Pipeline, reference: Engine, engine: Engine, report: Report = silent) -> None:
        self.pipeline, self.reference, self.engine, self.report = pipeline, reference, engine, report
        self.label = ""
        self.differences: list[Difference] = []

    def run(self, stage: str, inputs: Mapping[str, Array], *, grid: int = 0) -> Tensors:
        """Returns the reference's outputs of the stage."""
        name = stage + (self.label if self.pipeline.stage(stage).role == "decoder" else "")
        self.report(name)
        several = {"grid": grid} if self.pipeline.shapes > 1 else {}
        expected = self.reference.run(stage, inputs, **several)
        measured = self.engine.run(stage, inputs, **several)
        declared = self.pipeline.stage(stage)
        if declared.role == "prune" and declared.quantisation != "none":
            self.differences += selection_differences(name, measured, expected)
        else:
            self.differences += [difference(name, out, measured[out], value) for out, value in expected.items()]
        return expected


def compare_stages(
    pipeline: Pipeline,
    reference: Engine,
    engine: Engine,
    prompt: EncodedPrompt,
    views: Sequence[Array],
    *,
    report: Report = silent,
) -> tuple[Difference, ...]:
    """Compares every stage on the reference's own intermediate results: prefill both ways, decode, and more text."""
    both = ComparingEngine(pipeline, reference, engine, report)
    run = start_prefill(pipeline, both, prompt, views)
    roles = [pipeline.stage(name).role for name in pipeline.prefill]
    before = roles.index("prune") if "prune" in roles else 0
    _run(run, pipeline.prefill[:before])
    both.label = ", unpruned"
    _run(run.fork(), [name for name in pipeline.prefill[before:] if pipeline.stage(name).role != "prune"])
    both.label = ", pruned"
    _run(run, pipeline.prefill[before:])
    state = run.state()
    for step in range(DECODE_STEPS):
        both.label = ", decode" if step == 0 else f", decode {step + 1}"
        state = _further(both, state, np.array([state.logits.argmax()]))
    both.label = ", follow-up"
    state = _further(both, state, _last_text(prompt))
    return (*both.differences, *_caches(reference, engine, state.past_tokens))


def _further(both: ComparingEngine, state: State, token_ids: Array) -> State:
    """Returns the state after more tokens of text; of the differences those of decoders are kept."""
    before = len(both.differences)
    state = final_state(extend_steps(both.pipeline, both, token_ids, state))
    decoders = [row for row in both.differences[before:] if both.label in row.stage]
    both.differences = both.differences[:before] + decoders
    return state


def _last_text(prompt: EncodedPrompt) -> Array:
    """The last few tokens of text in a prompt: what a follow-up begins with does not matter to the stages."""
    text = np.ones(len(prompt.token_ids), dtype=bool)
    for span in prompt.spans:
        text[span.start : span.stop] = False
    last: Array = prompt.token_ids[text][-FOLLOW_UP_TOKENS:]
    return last


def _run(run: Prefill, names: Iterable[str]) -> None:
    for name in names:
        for _ in run.run(name):
            pass


def _caches(reference: Engine, engine: Engine, lengths: Mapping[str, int]) -> Iterator[Difference]:
    """Compares what prefill and decode left in the caches of engines that show them.

    The worst token counts: one that was never written hides in the outputs where attention hardly looks at it.
    """
    for stage, tokens in lengths.items():
        expected, measured = (one.cached(stage) if isinstance(one, ShowsCache) else None for one in (reference, engine))
        if expected is None or measured is None:
            continue
        for name, ours, theirs in zip(("keys", "values"), measured, expected, strict=True):
            rows = (difference(f"{stage}, cache", name, ours[:, :, nth], theirs[:, :, nth]) for nth in range(tokens))
            yield max(rows, key=lambda row: row.relative)


def selection_differences(stage: str, measured: Tensors, expected: Tensors) -> list[Difference]:
    """Returns how much a prune stage with quantised weights, which holds layers of the tower, differs in its choice.

    Its layers compute other features than PyTorch's, so that near the end of the choice other tokens win. The share of
    kept tokens that are not PyTorch's has the limit of features; those that both keep are compared.
    """
    both, ours, theirs = np.intersect1d(measured["kept"], expected["kept"], return_indices=True)
    other = len(expected["kept"]) - len(both)
    share = Difference(stage, "share of other tokens", float(other), other / len(expected["kept"]))
    if not len(both):
        return [share]
    return [share, difference(stage, "fused, kept by both", measured["fused"][ours], expected["fused"][theirs])]


def difference(stage: str, output: str, measured: Array, expected: Array) -> Difference:
    """Returns the largest and the relative RMS difference, or the equality of integers.

    >>> difference("prune", "kept", np.array([1, 2]), np.array([1, 3])).equal
    False
    """
    if measured.shape != expected.shape:
        return Difference(stage, output, float("inf"), float("inf"), equal=False)
    if not np.issubdtype(expected.dtype, np.floating):
        return Difference(stage, output, 0.0, 0.0, equal=bool((measured == expected).all()))
    gap = measured.astype(np.float64) - expected.astype(np.float64)
    scale = float(np.sqrt(np.mean(expected.astype(np.float64) ** 2)))
    relative = float(np.sqrt(np.mean(gap**2))) / max(scale, 1e-30)
    return Difference(stage, output, float(np.abs(gap).max()), relative if np.isfinite(relative) else float("inf"))
