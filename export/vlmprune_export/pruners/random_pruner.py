"""`random` draws tokens once, without looking at the image. A method that does not beat this floor does not work."""

import random
from dataclasses import dataclass

from vlmprune_export.pruners.fixed import FixedPruner
from vlmprune_export.pruners.settings import check_integer
from vlmprune_export.pruners.site import Site


@dataclass(frozen=True)
class RandomSettings:
    """Settings of `random`: the same grid and seed always give the same tokens."""

    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a seed out of range."""
        check_integer("seed", self.seed, 0, 2**31 - 1)


def random_pruner(site: Site, settings: RandomSettings) -> FixedPruner:
    """Keeps random tokens; a smaller number of kept tokens gives a part of those of a larger number."""
    if site.keep >= site.tokens:
        return FixedPruner(range(site.tokens), settings)
    return FixedPruner(shuffled(site.grid, settings.seed)[: site.keep], settings)


def shuffled(grid: tuple[int, int], seed: int) -> list[int]:  # -> (N,)
    """Returns all tokens in random order.

    >>> sorted(shuffled((2, 3), 0)) == list(range(6))
    True
    """
    tokens = grid[0] * grid[1]
    return random.Random(f"random/{grid[0]}x{grid[1]}/{seed}").sample(range(tokens), tokens)
