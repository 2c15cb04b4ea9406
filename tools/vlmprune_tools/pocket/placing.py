"""Where the objects of a scene go."""

import random

import torch
from torch import Tensor

from vlmprune_export.pocket.tower import GRID, IMAGE_PX, PATCH_PX
from vlmprune_tools.pocket.styles import Style

Square = tuple[int, int, int]  # left, top, side
GAP_PX, APART_PX = 6, 90


def place(kind: str, count: int, style: Style, rng: random.Random) -> list[Square]:
    """Squares (x, y, size) that do not touch; in a row or column their centres are well apart."""
    largest = style.crowd_max_px if kind in ("many", "same") else style.max_px
    while True:
        for _ in range(200):
            squares = scatter(count, style, largest, rng)
            if len(squares) == count and far_enough(kind, squares):
                return squares
        largest = (style.min_px + largest) // 2


def scatter(count: int, style: Style, largest: int, rng: random.Random) -> list[Square]:
    """Up to `count` squares at random places with a gap between them."""
    squares: list[Square] = []
    for _ in range(count):
        size = style.min_px + round((largest - style.min_px) * rng.random() ** style.small_bias)
        for _ in range(30):
            square = rng.randint(0, IMAGE_PX - size), rng.randint(0, IMAGE_PX - size), size
            if all(clear(square, other) for other in squares):
                squares.append(square)
                break
    return squares


def clear(a: Square, b: Square) -> bool:
    """True when two squares have a gap between them.

    >>> clear((0, 0, 40), (50, 0, 40)), clear((0, 0, 40), (44, 0, 40))
    (True, False)
    """
    return any(a[k] > b[k] + b[2] + GAP_PX or b[k] > a[k] + a[2] + GAP_PX for k in (0, 1))


def far_enough(kind: str, squares: list[Square]) -> bool:
    """A row is asked for left and right, a column for top and bottom."""
    if kind not in ("row", "column"):
        return True
    axis = ("row", "column").index(kind)
    first, second = (square[axis] + square[2] / 2 for square in squares[:2])
    return abs(first - second) >= APART_PX


def within(square: Square) -> Tensor:  # -> (N,)
    """The patches that a square touches.

    >>> within((15, 0, 14)).nonzero()[:, 0].tolist()
    [1, 2]
    """
    x, y, side = square
    at = torch.arange(GRID) * PATCH_PX
    across, down = ((at + PATCH_PX > start) & (at < start + side) for start in (x, y))
    return (down[:, None] & across[None]).reshape(-1)
