"""Compares whole answers in two engines: overlap of kept tokens and agreement of next tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from vlmprune_runtime.decode import decode
from vlmprune_runtime.engines import Engine
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.progress import Report
from vlmprune_runtime.prompt import EncodedPrompt
from vlmprune_runtime.schema import Pipeline
from vlmprune_runtime.selection import Selection
from vlmprune_runtime.state import State


@dataclass(frozen=True)
class Agreement:
    """The next-token choices along the reference's own answer: `agreed` of `tokens` were the same.

    `kept_in_common` of `keep` visual tokens were kept by both, each after its own prefill; None without pruning.
    """

    mode: str
    tokens: int
    agreed: int
    keep: int | None = None
    kept_in_common: int | None = None

    @property
    def tokens_fraction(self) -> float:
        """Returns the share of choices in common."""
        return self.agreed / self.tokens

    @property
    def overlap_fraction(self) -> float:
        """Returns the share of kept tokens in common, 1 without pruning."""
        return 1.0 if self.keep is None or self.kept_in_common is None else self.kept_in_common / self.keep


def compare_generation(
    pipeline: Pipeline,
    reference: Engine,
    engine: Engine,
    prompt: EncodedPrompt,
    views: Sequence[npt.NDArray[Any]],
    *,
    tokens: int,
    prune: bool,
    report: Report,
) -> Agreement:
    """Compares greedy choices while both engines get the reference's tokens, beyond end tokens too."""
    expected = prefill(pipeline, reference, prompt, views, prune=prune)
    measured = prefill(pipeline, engine, prompt, views, prune=prune)
    keep, common = _kept(expected, measured)
    agreed = 0
    for step in range(tokens):
        report(f"token {step + 1} of {tokens}")
        token_id = int(expected.logits.argmax())
        agreed += token_id == int(measured.logits.argmax())
        if step + 1 < tokens:
            expected = decode(pipeline, reference, token_id, expected)
            measured = decode(pipeline, engine, token_id, measured)
    return Agreement("pruned" if prune else "unpruned", tokens, agreed, keep, common)


def _kept(expected: State, measured: State) -> tuple[int | None, int | None]:
    if not expected.selections:
        return None, None
    ours, theirs = (kept_places(state.selections) for state in (measured, expected))
    return len(theirs), len(ours & theirs)


def kept_places(selections: Sequence[Selection]) -> set[tuple[int, int]]:
    """Returns the view and the place of every token that the last cut kept."""
    last = selections[-1].cut
    return {(one.view, cell) for one in selections if one.cut == last for cell in one.cells.tolist()}
