"""The state of generation: what a runner knows after a prompt or a token."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from vlmprune_runtime.events import StageTimed
from vlmprune_runtime.selection import Selection


@dataclass(frozen=True)
class State:
    """Holds the state of generation after a prompt or a token.

    `logits` (V,) are those of the next token, `past_tokens` how many tokens each decoder stage has cached,
    `next_position` is the position of the next token, and `views` how many views the sequence has.
    """

    logits: npt.NDArray[Any]
    past_tokens: dict[str, int]
    next_position: int
    selections: tuple[Selection, ...] = ()
    views: int = 0

    def fills(self, context_tokens: int) -> bool:
        """Says whether a context has no room for one more token: no row in the fullest cache, or no position."""
        return max(self.next_position, *self.past_tokens.values()) >= context_tokens

    def rewound(self, tokens: int) -> "State":
        """Returns the state before the last so many tokens of text, whose cached rows the next tokens overwrite.

        The logits stay those behind the dropped tokens.
        """
        past_tokens = {stage: past - tokens for stage, past in self.past_tokens.items()}
        return replace(self, past_tokens=past_tokens, next_position=self.next_position - tokens)


def final_state(steps: Generator[StageTimed, None, State]) -> State:
    """Runs all steps and returns the state that they end with."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            state: State = stop.value
            return state
