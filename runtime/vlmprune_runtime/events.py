"""What a run tells while it goes on, and its result."""

from dataclasses import dataclass
from typing import Literal, get_args

TimedStage = Literal["preprocess", "vision", "embed", "prune_vision", "head", "prune", "tail"]
TIMED_STAGES: tuple[TimedStage, ...] = get_args(TimedStage)
"""The stages up to the first token in the order in which they are shown; a bundle need not have all of them."""

Reason = Literal["stop", "length"]


@dataclass(frozen=True)
class StageTimed:
    """A stage has run."""

    stage: str
    ms: float


@dataclass(frozen=True)
class Pruned:
    """Which visual tokens of an image were kept, in image order, and the rank at which each was chosen, from 0."""

    kept: tuple[int, ...]
    rank: tuple[int, ...]
    visual_tokens: int
    image: int = 0


@dataclass(frozen=True)
class TextPiece:
    """The next whole characters of the answer."""

    text: str


@dataclass(frozen=True)
class Timings:
    """Every stage up to the first token in turn, and each later token.

    `ttft_ms` runs from image and prompt in to the first token chosen, so it is a little more than the sum.
    """

    stages: tuple[StageTimed, ...]
    ttft_ms: float
    decode_ms: tuple[float, ...]

    def stage_ms(self, stage: str) -> float:
        """Time of one stage, of all images together; 0 if it did not run.

        >>> Timings((StageTimed("vision", 2.0), StageTimed("vision", 1.0)), 3.5, ()).stage_ms("vision")
        3.0
        """
        return sum(run.ms for run in self.stages if run.stage == stage)

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Speed after the first token, None if there was no second."""
        return 1000 * len(self.decode_ms) / sum(self.decode_ms) if self.decode_ms else None


@dataclass(frozen=True)
class RunResult:
    """The whole answer; `token_ids` are without the stop token that `reason` "stop" speaks of.

    `text` is without leading white space, as the pieces are.
    """

    text: str
    token_ids: tuple[int, ...]
    reason: Reason
    prompt_tokens: int
    pruned: tuple[Pruned, ...]
    timings: Timings


@dataclass(frozen=True)
class Finished:
    """The last event."""

    result: RunResult


RunEvent = StageTimed | Pruned | TextPiece | Finished
