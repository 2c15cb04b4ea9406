"""What lies behind the objects: a plain or noisy colour, a gradient, or a piece of a real photo."""

import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from vlmprune_export.pocket.tower import IMAGE_PX
from vlmprune_tools.extra import tools_package
from vlmprune_tools.pocket.concepts import COLOURS

Pixels = npt.NDArray[np.float32]

# Photos that ship with scikit-image and scikit-learn, and the concepts one can see in them.
PHOTOS = {
    "astronaut": ("rocket", "helmet", "eye", "nose", "mouth", "ear"),
    "chelsea": ("cat", "eye", "nose", "ear"),
    "coffee": ("coffee", "tea", "spoon"),
    "rocket": ("rocket",),
    "china.jpg": ("house", "castle", "hut", "tree", "pine", "mountain"),
    "flower.jpg": ("rose", "sunflower", "blossom", "lotus", "leaf"),
}
# Left half for training; the right half is parted between choosing (dev) and reporting (test).
PARTS = {"train": (0.0, 0.0, 0.5, 1.0), "dev": (0.5, 0.0, 1.0, 0.5), "test": (0.5, 0.5, 1.0, 1.0)}


@dataclass(frozen=True)
class Background:
    """Pixels (336, 336, 3) in 0..255, the colour's name if one can be asked for, what a photo shows."""

    pixels: Pixels
    colour: str | None = None
    shows: tuple[str, ...] = ()


def background(kind: str, split: str, rng: random.Random, flat: float = 0.0) -> Background:
    """One background of a kind: plain, noise, gradient, photo; a share of the plain ones is `flat` to the last bit."""
    noise = np.random.default_rng(rng.getrandbits(64))
    if kind == "photo":
        return photo_background(split, rng)
    if kind == "gradient":
        return Background(gradient(rng) + shape_noise(noise, 8, channels=1))
    colour = rng.choice(list(COLOURS))
    base = np.array(COLOURS[colour], np.float32) + noise.uniform(-12, 12, 3).astype(np.float32)
    amplitude, channels = (40, 3) if kind == "noise" else (0 if rng.random() < flat else 12, 1)
    return Background(base + shape_noise(noise, amplitude, channels), colour)


def strew(image: Image.Image, rng: random.Random) -> None:
    """Clutter: a few small shapes and strokes of any colour, which no question is about."""
    canvas = ImageDraw.Draw(image)
    for _ in range(rng.randint(3, 9)):
        x, y, wide, high = (rng.randint(low, high) for low, high in ((0, IMAGE_PX), (0, IMAGE_PX), (4, 40), (4, 40)))
        colour = tuple(rng.randrange(256) for _ in range(3))
        if rng.random() < 0.5:
            canvas.line((x, y, x + wide * rng.choice((-1, 1)), y + high), fill=colour, width=rng.randint(1, 4))
        else:
            rng.choice((canvas.ellipse, canvas.rectangle))((x, y, x + wide, y + high), fill=colour)


def shape_noise(noise: np.random.Generator, amplitude: float, channels: int) -> Pixels:
    """Uniform noise, grey for one channel."""
    return noise.uniform(-amplitude, amplitude, (IMAGE_PX, IMAGE_PX, channels)).astype(np.float32)


def gradient(rng: random.Random) -> Pixels:
    """From one colour to another, downwards or to the right."""
    start, stop = (np.array(COLOURS[rng.choice(list(COLOURS))], np.float32) for _ in range(2))
    share = np.linspace(0, 1, IMAGE_PX, dtype=np.float32)[:, None, None]
    pixels = np.broadcast_to(start * (1 - share) + stop * share, (IMAGE_PX, IMAGE_PX, 3))
    return pixels.transpose(1, 0, 2) if rng.random() < 0.5 else pixels


def photo_background(split: str, rng: random.Random) -> Background:
    """A random square of a photo's part that belongs to the split."""
    name = rng.choice(list(PHOTOS))
    photo = photo_part(name, split)
    side = rng.randint(min(photo.size) // 2, min(photo.size))
    x, y = rng.randint(0, photo.width - side), rng.randint(0, photo.height - side)
    piece = photo.crop((x, y, x + side, y + side)).resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BILINEAR)
    return Background(np.asarray(piece, np.float32), None, PHOTOS[name])


@lru_cache
def photo_part(name: str, split: str) -> Image.Image:
    """The region of a photo that a split may use."""
    image = Image.fromarray(photo_pixels(name)).convert("RGB")
    left, top, right, bottom = PARTS[split]
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    return image.crop(tuple(int(edge) for edge in box))  # type: ignore[arg-type]


def photo_pixels(name: str) -> npt.NDArray[np.uint8]:
    """A sample photo of an installed package."""
    if name.endswith(".jpg"):
        return np.asarray(tools_package("sklearn.datasets").load_sample_image(name))
    return np.asarray(getattr(tools_package("skimage.data"), name)())
