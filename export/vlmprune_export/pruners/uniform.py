"""`uniform` spreads tokens evenly over the image without looking at it. As a floor it is harder than `random`."""

import math
from dataclasses import dataclass

from vlmprune_export.pruners.fixed import FixedPruner
from vlmprune_export.pruners.grid import LARGEST_SIDE
from vlmprune_export.pruners.needs import Place, place_of_layer
from vlmprune_export.pruners.settings import check_integer
from vlmprune_export.pruners.site import Site
from vlmprune_runtime.errors import BadRequest


@dataclass(frozen=True)
class UniformSettings:
    """`place` says where the method cuts; `vision_keep` adds a first cut to that many tokens after the vision stage."""

    place: str = "layer"
    vision_keep: int | None = None

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        if self.place not in ("layer", "vision"):
            raise BadRequest(f"place is {self.place!r}; allowed: layer, vision")
        if self.vision_keep is not None:
            check_integer("vision_keep", self.vision_keep, 1, LARGEST_SIDE**2)
            if self.place == "vision":
                raise BadRequest("vision_keep adds a cut after the vision stage, where place=vision cuts already")


def uniform_places(settings: UniformSettings, layer: int) -> tuple[Place, ...]:
    """Returns where the method cuts: once, or after the vision stage and before a decoder layer."""
    if settings.place == "vision":
        return (Place("vision"),)
    if settings.vision_keep is None:
        return place_of_layer(settings, layer)
    if layer == 0:
        raise BadRequest("vision_keep needs a second cut before a decoder layer; got layer 0")
    return (Place("vision", settings.vision_keep), Place("layer"))


def uniform_pruner(site: Site, settings: UniformSettings) -> FixedPruner:
    """Returns a pruner that keeps the requested number of tokens, or all of a smaller grid."""
    return FixedPruner(spread_tokens(site.grid, min(site.keep, site.tokens)), settings)


def spread_tokens(grid: tuple[int, int], keep: int) -> list[int]:  # -> (K,)
    """Returns exactly `keep` distinct tokens of the grid, row by row.

    Rows are as far apart as tokens within a row, as nearly as whole numbers allow. Each row in use gets the same
    number of tokens or one token more, and the rows with more are spread evenly.

    >>> spread_tokens((4, 4), 4)
    [5, 7, 13, 15]
    """
    height, width = grid
    rows = row_count(grid, keep)
    tokens: list[int] = []
    for row, y in enumerate(spread(height, rows)):
        count = (row + 1) * keep // rows - row * keep // rows
        tokens += [y * width + x for x in spread(width, count)]
    return tokens


def row_count(grid: tuple[int, int], keep: int) -> int:
    """Returns how many rows are used: enough for `keep` tokens, and such that tokens lie equally far across and down.

    >>> row_count((24, 24), 64), row_count((2, 50), 20), row_count((3, 3), 8)
    (8, 1, 3)
    """
    height, width = grid
    square = round(math.sqrt(keep * height / width))
    return max(-(-keep // width), min(square, height, keep), 1)


def spread(length: int, count: int) -> list[int]:
    """Returns `count` <= `length` distinct places of a line, each in the middle of its share.

    >>> spread(24, 8), spread(5, 2), spread(3, 3)
    ([1, 4, 7, 10, 13, 16, 19, 22], [1, 3], [0, 1, 2])
    """
    return [(2 * nth + 1) * length // (2 * count) for nth in range(count)]
