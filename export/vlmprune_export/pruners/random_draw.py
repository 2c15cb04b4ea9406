"""`random` draws tokens once, without looking at the picture. A method that does not beat this floor does not work."""

import random
from dataclasses import dataclass

from vlmprune_export.pruners.fixed import FixedPruner
from vlmprune_export.pruners.settings import check_integer


@dataclass(frozen=True)
class RandomSettings:
    """Settings of `random`: the same grid and seed always give the same tokens."""

    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a seed out of range."""
        check_integer("seed", self.seed, 0, 2**31 - 1)


def random_pruner(grid: tuple[int, int], keep: int, settings: RandomSettings) -> FixedPruner:
    """Keeps `keep` random tokens of a grid (height, width); a smaller `keep` gives a part of the tokens of a larger."""
    tokens = grid[0] * grid[1]
    if keep >= tokens:
        return FixedPruner(range(tokens), settings)
    return FixedPruner(shuffled(grid, settings.seed)[:keep], settings)


def shuffled(grid: tuple[int, int], seed: int) -> list[int]:  # -> (N,)
    """Returns all tokens in random order.

    >>> sorted(shuffled((2, 3), 0)) == list(range(6))
    True
    """
    tokens = grid[0] * grid[1]
    return random.Random(f"random/{grid[0]}x{grid[1]}/{seed}").sample(range(tokens), tokens)
