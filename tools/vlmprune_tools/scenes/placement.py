"""Places the objects of a scene so that they do not touch."""

import random

from vlmprune_export.pocket_model.vision_tower import IMAGE_PX
from vlmprune_tools.scenes.styles import Style

Square = tuple[int, int, int]  # left, top, side
GAP_PX, APART_PX = 6, 90
TRIES_PER_SIZE, TRIES_PER_OBJECT = 200, 30


def place_objects(kind: str, count: int, style: Style, rng: random.Random) -> list[Square]:
    """Returns squares (x, y, size) that do not touch; in a row or column their centres are well apart."""
    largest = style.crowd_max_px if kind in ("many", "same") else style.max_px
    while True:
        for _ in range(TRIES_PER_SIZE):
            squares = scatter(count, style, largest, rng)
            if len(squares) == count and far_enough(kind, squares):
                return squares
        largest = (style.min_px + largest) // 2


def scatter(count: int, style: Style, largest: int, rng: random.Random) -> list[Square]:
    """Returns up to `count` squares at random places with a gap between them."""
    squares: list[Square] = []
    for _ in range(count):
        size = style.min_px + round((largest - style.min_px) * rng.random() ** style.small_bias)
        for _ in range(TRIES_PER_OBJECT):
            square = rng.randint(0, IMAGE_PX - size), rng.randint(0, IMAGE_PX - size), size
            if all(have_gap(square, other) for other in squares):
                squares.append(square)
                break
    return squares


def have_gap(a: Square, b: Square) -> bool:
    """Returns True if there is a gap between two squares.

    >>> have_gap((0, 0, 40), (50, 0, 40)), have_gap((0, 0, 40), (44, 0, 40))
    (True, False)
    """
    return any(a[k] > b[k] + b[2] + GAP_PX or b[k] > a[k] + a[2] + GAP_PX for k in (0, 1))


def far_enough(kind: str, squares: list[Square]) -> bool:
    """Returns True if questions about left and right of a row, or top and bottom of a column, are clear."""
    if kind not in ("row", "column"):
        return True
    axis = ("row", "column").index(kind)
    first, second = (square[axis] + square[2] / 2 for square in squares[:2])
    return abs(first - second) >= APART_PX
