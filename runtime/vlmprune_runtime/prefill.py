"""The way through the stages: prefill of a prompt, decode of one token; works with any engine."""

from collections.abc import Generator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.engines import Engine, Tensors
from vlmprune_runtime.errors import BadRequest, EngineError
from vlmprune_runtime.events import StageTimed
from vlmprune_runtime.prompt import EncodedPrompt, Span

Array = npt.NDArray[Any]
Steps = Generator[StageTimed, None, Any]


@dataclass(frozen=True)
class Selection:
    """What the pruner gave for one image: kept (K,), fused (K, D), order (K,)."""

    kept: npt.NDArray[np.int64]
    fused: Array
    order: npt.NDArray[np.int64]


@dataclass(frozen=True)
class State:
    """Where generation stands: logits (V,), tokens in both caches, the position of the next token."""

    logits: Array
    head_tokens: int
    tail_tokens: int
    position: int
    selections: tuple[Selection, ...] = ()


def prefill(engine: Engine, prompt: EncodedPrompt, pixels: Array, *, prune: bool = True) -> State:
    """The state after the whole prompt; pixels (images, 3, H, W), one image per span of the prompt."""
    state: State = _finished(prefill_steps(engine, prompt, pixels, prune=prune))
    return state


def select(engine: Engine, prompt: EncodedPrompt, pixels: Array) -> tuple[Selection, ...]:
    """What the pruner keeps of each image: prefill as far as `prune`."""
    positions = np.arange(len(prompt.token_ids), dtype=np.int64)
    embeddings = _finished(_embed(engine, prompt, pixels))
    head = engine.run("head", _step_inputs("embeddings", embeddings, positions, 0))
    selections: tuple[Selection, ...] = _finished(_prune(engine, prompt.spans, head))
    return selections


def prefill_steps(
    engine: Engine, prompt: EncodedPrompt, pixels: Array, *, prune: bool = True
) -> Generator[StageTimed, None, State]:
    """Prefill that tells each stage as it has run, and returns the state."""
    if len(pixels) != len(prompt.spans):
        raise BadRequest(f"got {len(pixels)} images, the prompt has places for {len(prompt.spans)}")
    positions = np.arange(len(prompt.token_ids), dtype=np.int64)
    embeddings = yield from _embed(engine, prompt, pixels)
    head = yield from _timed(engine, "head", _step_inputs("embeddings", embeddings, positions, 0))
    selections: tuple[Selection, ...] = ()
    if prune:
        selections = yield from _prune(engine, prompt.spans, head)
    rows, places = keep_rows(head["hidden"], prompt.spans, selections)
    tail = yield from _timed(engine, "tail", _step_inputs("hidden", rows, positions[places], 0))
    return State(tail["logits"], len(positions), len(places), len(positions), selections)


def decode(engine: Engine, token_id: int, state: State) -> State:
    """The state after one more token, whose position is that in the unpruned sequence."""
    position = np.array([state.position], dtype=np.int64)
    embedded = engine.run("embed", {"token_ids": np.array([token_id], dtype=np.int64)})["embeddings"]
    head = engine.run("head", _step_inputs("embeddings", embedded, position, state.head_tokens))
    tail = engine.run("tail", _step_inputs("hidden", head["hidden"], position, state.tail_tokens))
    return State(tail["logits"], state.head_tokens + 1, state.tail_tokens + 1, state.position + 1, state.selections)


def keep_rows(
    hidden: Array, spans: tuple[Span, ...], selections: tuple[Selection, ...]
) -> tuple[Array, npt.NDArray[np.int64]]:  # (S, D) -> (S', D), (S',)
    """Text rows and fused visual rows in order, and the places they had; all rows if nothing was pruned.

    >>> pick = Selection(np.array([1]), np.array([[9.0]]), np.array([0]))
    >>> rows, places = keep_rows(np.array([[0.0], [1.0], [2.0], [3.0]]), (Span(1, 3),), (pick,))
    >>> rows.ravel().tolist(), places.tolist()
    ([0.0, 9.0, 3.0], [0, 2, 3])
    """
    rows, stays = hidden.copy(), np.ones(len(hidden), dtype=bool)
    for span, selection in zip(spans, selections, strict=False):
        stays[span.start : span.stop] = False
        stays[span.start + selection.kept] = True
        rows[span.start + selection.kept] = selection.fused
    return rows[stays], np.flatnonzero(stays).astype(np.int64)


def _embed(engine: Engine, prompt: EncodedPrompt, pixels: Array) -> Steps:
    """Text embeddings with the visual ones put in their places, (S, D)."""
    token_ids = prompt.token_ids.copy()
    for span in prompt.spans:
        token_ids[span.start : span.stop] = 0  # the image token's id may be outside the embedding table
    rows = (yield from _timed(engine, "embed", {"token_ids": token_ids}))["embeddings"].copy()
    for nth, span in enumerate(prompt.spans):
        seen = yield from _timed(engine, "vision", {"pixels": pixels[nth : nth + 1]})
        rows[span.start : span.stop] = seen["visual"]
    return rows


def _prune(engine: Engine, spans: tuple[Span, ...], head: Tensors) -> Steps:
    selections = []
    for start, stop in spans:
        visual = {"hidden": head["hidden"][start:stop], "keys": head["keys"][start:stop]}
        pruned = yield from _timed(engine, "prune", visual)
        selection = Selection(pruned["kept"], pruned["fused"], pruned["order"])
        _check_kept(selection.kept, stop - start)
        selections.append(selection)
    return tuple(selections)


def _check_kept(kept: npt.NDArray[np.int64], visual_tokens: int) -> None:
    rising = bool((np.diff(kept) > 0).all())
    if not (rising and kept.size and kept[0] >= 0 and kept[-1] < visual_tokens):
        raise EngineError("prune", f"kept is not a rising row of places below {visual_tokens}")


def _step_inputs(name: str, rows: Array, positions: npt.NDArray[np.int64], past_tokens: int) -> Tensors:
    return {name: rows, "positions": positions, "past_tokens": np.array([past_tokens], dtype=np.int32)}


def _finished(steps: Steps) -> Any:
    """What the steps give at their end."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def _timed(engine: Engine, stage: str, inputs: Tensors) -> Steps:
    start = perf_counter()
    outputs = engine.run(stage, inputs)
    yield StageTimed(stage, ms_since(start))
    return outputs


def ms_since(start: float) -> float:
    """Milliseconds since a reading of `perf_counter`."""
    return 1000 * (perf_counter() - start)
