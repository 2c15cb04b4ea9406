"""Choosing the next token from the logits."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import BadRequest, EngineError


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy; otherwise the likeliest tokens with mass `top_p` are drawn from."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if not (isfinite(self.temperature) and self.temperature >= 0):
            raise BadRequest(f"temperature: got {self.temperature}, allowed: 0 or more")
        if not 0 < self.top_p <= 1:
            raise BadRequest(f"top_p: got {self.top_p}, allowed: above 0 up to 1")
        if self.seed < 0:
            raise BadRequest(f"seed: got {self.seed}, allowed: 0 or more")


GREEDY = Sampling()


def choose(logits: npt.NDArray[np.floating], sampling: Sampling, generator: np.random.Generator) -> int:  # (V,)
    """The id of the next token.

    >>> choose(np.array([0.1, 2.0, 1.0]), GREEDY, np.random.default_rng(0))
    1
    """
    if np.isnan(logits).any():
        raise EngineError("tail", "the logits are not numbers")
    if sampling.temperature == 0:
        return int(np.argmax(logits))
    ids, chances = nucleus(logits, sampling)
    return int(generator.choice(ids, p=chances))


def nucleus(
    logits: npt.NDArray[np.floating], sampling: Sampling
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:  # (V,) -> (M,), (M,)
    """The fewest likeliest tokens that reach `top_p` together, and their chances, likeliest first.

    >>> ids, chances = nucleus(np.log([0.2, 0.5, 0.3]), Sampling(temperature=1.0, top_p=0.6))
    >>> ids.tolist(), chances.round(3).tolist()
    ([1, 2], [0.625, 0.375])
    """
    scaled = logits.astype(np.float64)
    chances = np.exp((scaled - scaled.max()) / sampling.temperature)
    chances /= chances.sum()
    ids = np.argsort(-chances, kind="stable")
    mass = np.cumsum(chances[ids])
    count = int(np.searchsorted(mass, sampling.top_p)) + 1
    ids = ids[:count]
    return ids, chances[ids] / chances[ids].sum()
