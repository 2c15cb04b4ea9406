"""Scenes made from artwork: what is where is known, so every question has one right answer.

Scene `index` of a split depends on (split, style, index) only; no two splits share a random number.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_export.pocket.tower import GRID, IMAGE_PX, PATCH_PX
from vlmprune_tools.pocket.artwork import Artwork, picture
from vlmprune_tools.pocket.backgrounds import background

CLEAN, EDGE = -1, -2  # patches without an object, and those mostly but not wholly without
GAP_PX, APART_PX = 6, 90


@dataclass(frozen=True)
class Style:
    """How hard scenes are; `small_bias` > 1 makes small objects more frequent."""

    min_px: int = 40
    max_px: int = 150
    crowd_max_px: int = 100
    small_bias: float = 1.0
    kinds: Mapping[str, float] = field(
        default_factory=lambda: {"one": 0.34, "row": 0.20, "column": 0.20, "many": 0.14, "same": 0.12}
    )
    backgrounds: Mapping[str, float] = field(
        default_factory=lambda: {"plain": 0.4, "noise": 0.2, "gradient": 0.2, "photo": 0.2}
    )


STYLES = {
    "easy": Style(64, 130, backgrounds={"plain": 1.0}),
    "hard": Style(),
    "drill": Style(
        36,
        150,
        small_bias=1.7,
        kinds={"one": 0.46, "row": 0.16, "column": 0.16, "many": 0.14, "same": 0.08},
        backgrounds={"plain": 0.25, "noise": 0.25, "gradient": 0.2, "photo": 0.3},
    ),
}


@dataclass(frozen=True)
class Placed:
    """One object: its concept and the square it fills at most."""

    concept: str
    x_px: int
    y_px: int
    size_px: int

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the square, (x, y)."""
        return self.x_px + self.size_px / 2, self.y_px + self.size_px / 2


@dataclass(frozen=True)
class Scene:
    """What is in a picture. `asked` holds (family, question, answer) where those came with the picture."""

    kind: str
    objects: tuple[Placed, ...] = ()
    colour: str | None = None
    shows: tuple[str, ...] = ()
    asked: tuple[tuple[str, str, str], ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """A scene, its pixels (336, 336, 3), and per patch the number of the object on it, or CLEAN or EDGE."""

    scene: Scene
    pixels: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int8]  # (N,)


def draw_scene(split: str, style_name: str, index: int, artwork: Artwork) -> Drawn:
    """Scene `index` of a split."""
    rng, style = random.Random(f"{split}/{style_name}/{index}"), STYLES[style_name]
    kind, behind = pick(style.kinds, rng), background(pick(style.backgrounds, rng), split, rng)
    count = {"one": 1, "row": 2, "column": 2}.get(kind) or rng.randint(2 if kind == "many" else 1, 4 + (kind == "same"))
    concepts = [rng.choice(list(artwork))] * count if kind == "same" else rng.sample(list(artwork), count)
    squares = place(kind, count, style, rng)
    objects = tuple(Placed(concept, *square) for concept, square in zip(concepts, squares, strict=True))
    image = Image.fromarray(behind.pixels.clip(0, 255).astype(np.uint8))
    cover = paint(image, objects, artwork, kind == "same", rng)
    scene = Scene(kind, objects, behind.colour, behind.shows)
    return Drawn(scene, np.asarray(image), owners(cover))


def pick(weights: Mapping[str, float], rng: random.Random) -> str:
    """One key, as often as its weight says."""
    return rng.choices(list(weights), list(weights.values()))[0]


def place(kind: str, count: int, style: Style, rng: random.Random) -> list[tuple[int, int, int]]:
    """Squares (x, y, size) that do not touch; in a row or column their centres are well apart."""
    largest = style.crowd_max_px if kind in ("many", "same") else style.max_px
    while True:
        for _ in range(200):
            squares = scatter(count, style, largest, rng)
            if len(squares) == count and far_enough(kind, squares):
                return squares
        largest = (style.min_px + largest) // 2


def scatter(count: int, style: Style, largest: int, rng: random.Random) -> list[tuple[int, int, int]]:
    """Up to `count` squares at random places with a gap between them."""
    squares: list[tuple[int, int, int]] = []
    for _ in range(count):
        size = style.min_px + round((largest - style.min_px) * rng.random() ** style.small_bias)
        for _ in range(30):
            square = rng.randint(0, IMAGE_PX - size), rng.randint(0, IMAGE_PX - size), size
            if all(clear(square, other) for other in squares):
                squares.append(square)
                break
    return squares


def clear(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    """True when two squares have a gap between them.

    >>> clear((0, 0, 40), (50, 0, 40)), clear((0, 0, 40), (44, 0, 40))
    (True, False)
    """
    return any(a[k] > b[k] + b[2] + GAP_PX or b[k] > a[k] + a[2] + GAP_PX for k in (0, 1))


def far_enough(kind: str, squares: list[tuple[int, int, int]]) -> bool:
    """A row is asked for left and right, a column for top and bottom."""
    if kind not in ("row", "column"):
        return True
    axis = ("row", "column").index(kind)
    first, second = (square[axis] + square[2] / 2 for square in squares[:2])
    return abs(first - second) >= APART_PX


def paint(
    image: Image.Image, objects: tuple[Placed, ...], artwork: Artwork, alike: bool, rng: random.Random
) -> npt.NDArray[np.float32]:  # -> (objects, N)
    """Paste the objects in; gives the share of each patch that each object covers."""
    cover = np.zeros((len(objects), GRID * GRID), np.float32)
    vendor = rng.randrange(60)
    for row, item in enumerate(objects):
        files = artwork[item.concept]
        art = picture(files[(vendor if alike else rng.randrange(60)) % len(files)])
        scale = item.size_px / max(art.size)
        art = art.resize((max(8, int(art.width * scale)), max(8, int(art.height * scale))), Image.Resampling.BICUBIC)
        if not alike and rng.random() < 0.5:
            art = art.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image.paste(art, (item.x_px, item.y_px), art)
        cover[row] = patch_share(np.asarray(art)[:, :, 3] > 127, item.x_px, item.y_px)
    return cover


def patch_share(mask: npt.NDArray[np.bool_], x_px: int, y_px: int) -> npt.NDArray[np.float32]:  # -> (N,)
    """The share of each patch that a mask at (x, y) covers."""
    full = np.zeros((IMAGE_PX, IMAGE_PX), np.float32)
    full[y_px : y_px + mask.shape[0], x_px : x_px + mask.shape[1]] = mask
    patches = full.reshape(GRID, PATCH_PX, GRID, PATCH_PX)
    share: npt.NDArray[np.float32] = patches.mean((1, 3), dtype=np.float32).reshape(-1)
    return share


def owners(cover: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:  # (objects, N) -> (N,)
    """Which object a patch is mostly on."""
    most = cover.max(0)
    owner = np.where(most > 0.5, cover.argmax(0), np.where(most > 0.02, EDGE, CLEAN))
    return owner.astype(np.int8)
