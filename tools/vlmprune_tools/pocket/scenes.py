"""Scenes made from artwork: what is where is known, so every question has one right answer.

Scene `index` of a split depends on (split, style, index) only; no two splits share a random number.
"""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_export.pocket.tower import GRID, IMAGE_PX, PATCH_PX
from vlmprune_tools.pocket.artwork import Artwork, picture
from vlmprune_tools.pocket.backgrounds import background, strew
from vlmprune_tools.pocket.concepts import GROUP_OF
from vlmprune_tools.pocket.placing import Square, place
from vlmprune_tools.pocket.styles import STYLES, Style, pick
from vlmprune_tools.pocket.varying import vary

CLEAN, EDGE = -1, -2  # patches without an object, and those mostly but not wholly without
GONE = -3  # patches that a collage does not have


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

    @property
    def square(self) -> Square:
        """The square it fills at most."""
        return self.x_px, self.y_px, self.size_px


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
    kind, behind = pick(style.kinds, rng), background(pick(style.backgrounds, rng), split, rng, style.flat)
    concepts = concepts_of(kind, style, list(artwork), rng)
    squares = place(kind, len(concepts), style, rng)
    objects = tuple(Placed(concept, *square) for concept, square in zip(concepts, squares, strict=True))
    image = Image.fromarray(behind.pixels.clip(0, 255).astype(np.uint8))
    if rng.random() < style.clutter:
        strew(image, rng)
    cover = paint(image, objects, artwork, kind == "same", style.varied, rng)
    scene = Scene(kind, objects, behind.colour, behind.shows)
    return Drawn(scene, np.asarray(image), owners(cover))


def concepts_of(kind: str, style: Style, known: list[str], rng: random.Random) -> list[str]:
    """What is in a scene of a kind; in some scenes all objects are kindred."""
    if kind == "same":
        return [rng.choice(known)] * rng.randint(1, 5)
    count = {"empty": 0, "one": 1, "row": 2, "column": 2}.get(kind)
    count = rng.randint(min(style.fewest, len(known)), min(style.most, len(known))) if count is None else count
    if rng.random() < style.kin:
        first = rng.choice(known)
        kindred = [name for name in known if GROUP_OF.get(name) == GROUP_OF.get(first)]
        if len(kindred) >= count:
            return rng.sample(kindred, count)
    return rng.sample(known, count)


def paint(
    image: Image.Image,
    objects: tuple[Placed, ...],
    artwork: Artwork,
    alike: bool,
    varied: float,
    rng: random.Random,
) -> npt.NDArray[np.float32]:  # -> (objects, N)
    """Paste the objects in; gives the share of each patch that each object covers."""
    cover = np.zeros((len(objects), GRID * GRID), np.float32)
    vendor = rng.randrange(60)
    for row, item in enumerate(objects):
        files = artwork[item.concept]
        art = picture(files[(vendor if alike else rng.randrange(60)) % len(files)])
        art = vary(art, rng) if rng.random() < varied else art
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
    if not len(cover):
        return np.full(GRID * GRID, CLEAN, np.int8)
    most = cover.max(0)
    owner = np.where(most > 0.5, cover.argmax(0), np.where(most > 0.02, EDGE, CLEAN))
    return owner.astype(np.int8)
