"""One stage in two engines on identical inputs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.engines import Engine, Tensors
from vlmprune_runtime.prefill import keep_rows
from vlmprune_runtime.prompt import EncodedPrompt

Array = npt.NDArray[Any]
DECODE_STEPS = 3


@dataclass(frozen=True)
class Difference:
    """How one output of one stage differs; `equal` is for integer outputs, which have no distance."""

    stage: str
    output: str
    max_abs: float
    relative: float
    equal: bool | None = None


@runtime_checkable
class ShowsCache(Protocol):
    """An engine whose KV cache can be looked at."""

    def cached(self, stage: str) -> tuple[Array, Array] | None:
        """Keys and values of head or tail, each (layers, kv_heads, tokens or more, head_dim)."""


def compare_stages(reference: Engine, engine: Engine, prompt: EncodedPrompt, pixels: Array) -> Iterator[Difference]:
    """Every stage fed with the reference's own intermediate results: one image, prefill and decode."""
    span, positions = prompt.spans[0], np.arange(len(prompt.token_ids), dtype=np.int64)
    token_ids = prompt.token_ids.copy()
    token_ids[span.start : span.stop] = 0
    visual = yield from _both(reference, engine, "vision", "vision", {"pixels": pixels})
    embedded = yield from _both(reference, engine, "embed", "embed", {"token_ids": token_ids})
    rows = embedded["embeddings"].copy()
    rows[span.start : span.stop] = visual["visual"]
    head = yield from _both(reference, engine, "head", "head", _inputs("embeddings", rows, positions, 0))
    places = slice(span.start, span.stop)
    pruned = yield from _both(
        reference, engine, "prune", "prune", {"hidden": head["hidden"][places], "keys": head["keys"][places]}
    )
    yield from _tail(reference, engine, "tail, unpruned", head["hidden"], positions)
    kept_rows, kept_places = keep_rows(head["hidden"], prompt.spans, (_Selected(pruned),))  # type: ignore[arg-type]
    logits = yield from _tail(reference, engine, "tail, pruned", kept_rows, positions[kept_places])
    yield from _decode(reference, engine, int(logits.argmax()), len(positions), len(kept_places))


class _Selected:
    def __init__(self, pruned: Tensors) -> None:
        self.kept, self.fused = pruned["kept"], pruned["fused"]


def _tail(reference: Engine, engine: Engine, name: str, hidden: Array, positions: Array) -> Any:
    outputs = yield from _both(reference, engine, "tail", name, _inputs("hidden", hidden, positions, 0))
    return outputs["logits"]


def _decode(reference: Engine, engine: Engine, token_id: int, length: int, tail_length: int) -> Iterator[Difference]:
    """Tokens one by one on the caches that prefill left; only the later ones read what decode itself has cached."""
    for step in range(DECODE_STEPS):
        name = "decode" if step == 0 else f"decode {step + 1}"
        embedded = reference.run("embed", {"token_ids": np.array([token_id])})["embeddings"]
        position = np.array([length + step])
        inputs = _inputs("embeddings", embedded, position, length + step)
        head = yield from _both(reference, engine, "head", f"head, {name}", inputs)
        inputs = _inputs("hidden", head["hidden"], position, tail_length + step)
        tail = yield from _both(reference, engine, "tail", f"tail, {name}", inputs)
        token_id = int(tail["logits"].argmax())
    yield from _caches(reference, engine, {"head": length + DECODE_STEPS, "tail": tail_length + DECODE_STEPS})


def _caches(reference: Engine, engine: Engine, lengths: Mapping[str, int]) -> Iterator[Difference]:
    """What prefill and decode left in the caches of engines that show them.

    The worst token counts: one that was never written hides in the outputs where attention hardly looks at it.
    """
    for stage, tokens in lengths.items():
        expected, measured = (one.cached(stage) if isinstance(one, ShowsCache) else None for one in (reference, engine))
        if expected is None or measured is None:
            continue
        for name, ours, theirs in zip(("keys", "values"), measured, expected, strict=True):
            rows = (difference(f"{stage}, cache", name, ours[:, :, nth], theirs[:, :, nth]) for nth in range(tokens))
            yield max(rows, key=lambda row: row.relative)


def _inputs(name: str, rows: Array, positions: Array, past_tokens: int) -> Tensors:
    return {name: rows, "positions": positions, "past_tokens": np.array([past_tokens], np.int32)}


def _both(reference: Engine, engine: Engine, stage: str, name: str, inputs: Mapping[str, Array]) -> Any:
    expected, measured = reference.run(stage, inputs), engine.run(stage, inputs)
    for output, value in expected.items():
        yield difference(name, output, measured[output], value)
    return expected


def difference(stage: str, output: str, measured: Array, expected: Array) -> Difference:
    """Largest and relative RMS difference, or equality of integers.

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
