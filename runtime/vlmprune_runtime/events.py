"""Defines the events of a run, and its result."""

from dataclasses import dataclass
from time import perf_counter
from typing import Literal, get_args

TimedStage = Literal["preprocess", "vision", "embed", "prune_vision", "head", "prune", "tail"]
TIMED_STAGES: tuple[TimedStage, ...] = get_args(TimedStage)
"""The stages up to the first token in the order in which they are shown; a bundle need not have all of them."""

LLM_PREFILL: tuple[TimedStage, ...] = ("prune_vision", "head", "prune", "tail")
"""The stages that the LLM prefill consists of, the pruner included."""

Reason = Literal["stop", "length"]


@dataclass(frozen=True)
class StageTimed:
    """Reports that a stage has run, and the time that it took."""

    stage: str
    ms: float


@dataclass(frozen=True)
class Pruned:
    """Holds which visual tokens of a view were kept, in image order, and the rank of each choice, from 0.

    `view` counts the views of one image, in the order of the prompt. Tiles that are pruned together have ranks among
    the tokens of all of them, and some tile may have kept none.
    """

    kept: tuple[int, ...]
    rank: tuple[int, ...]
    visual_tokens: int
    image: int = 0
    view: int = 0


@dataclass(frozen=True)
class SeenView:
    """Says as what a view of an image was seen: visual tokens high and wide, and pixels.

    `row` and `column` are those of a tile, from 0, and None for a view that shows the whole image.
    """

    image: int
    height: int
    width: int
    height_px: int
    width_px: int
    row: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class TextPiece:
    """Carries the next whole characters of the answer."""

    text: str


@dataclass(frozen=True)
class Timings:
    """Holds the times of every stage up to the first token in turn, and of each later token.

    `ttft_ms` runs from receiving image and prompt to choosing the first token, so it slightly exceeds the sum.
    """

    stages: tuple[StageTimed, ...]
    ttft_ms: float
    decode_ms: tuple[float, ...]

    def stage_ms(self, stage: str) -> float:
        """Returns the time of one stage, all images together; 0 if it did not run.

        >>> Timings((StageTimed("vision", 2.0), StageTimed("vision", 1.0)), 3.5, ()).stage_ms("vision")
        3.0
        """
        return sum(run.ms for run in self.stages if run.stage == stage)

    @property
    def llm_prefill_ms(self) -> float:
        """The time that the language model takes for the prompt, the pruner included."""
        return sum(self.stage_ms(stage) for stage in LLM_PREFILL)

    @property
    def decode_tokens_per_s(self) -> float | None:
        """The speed after the first token, None if there was no second."""
        return 1000 * len(self.decode_ms) / sum(self.decode_ms) if self.decode_ms else None


@dataclass(frozen=True)
class RunResult:
    """Holds the whole answer; `token_ids` leave out the stop token that ends an answer with the reason "stop".

    `text` has no leading white space, and neither have the text pieces together. `prompt_tokens` count all tokens
    before the answer, and `prefilled_tokens` those that were run for this answer: of a further question, the new ones.
    """

    text: str
    token_ids: tuple[int, ...]
    reason: Reason
    prompt_tokens: int
    prefilled_tokens: int
    pruned: tuple[Pruned, ...]
    timings: Timings
    seen: tuple[SeenView, ...] = ()


@dataclass(frozen=True)
class Finished:
    """Ends the stream of events with the result."""

    result: RunResult


RunEvent = StageTimed | Pruned | TextPiece | Finished


def ms_since(start: float) -> float:
    """Returns the milliseconds since a reading of `perf_counter`."""
    return 1000 * (perf_counter() - start)
