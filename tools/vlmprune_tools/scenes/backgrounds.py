"""Backgrounds of scenes: a plain or noisy colour, a gradient, or a piece of a real photo."""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from vlmprune_export.pocket_model.vision_tower import IMAGE_PX
from vlmprune_tools.scenes.concepts import COLOURS
from vlmprune_tools.scenes.photos import PHOTOS, photo_part

Pixels = npt.NDArray[np.float32]
NOISE, GRADIENT_NOISE, PLAIN_NOISE, COLOUR_SHIFT = 40, 8, 12, 12  # amplitudes, of 255


@dataclass(frozen=True)
class Background:
    """Pixels (336, 336, 3) in 0..255, the name of a plain colour, and the concepts that a photo shows."""

    pixels: Pixels
    colour: str | None = None
    photo_concepts: tuple[str, ...] = ()


def make_background(kind: str, split: str, rng: random.Random, flat_fraction: float = 0.0) -> Background:
    """Makes a plain, noise, gradient or photo background; `flat_fraction` of the plain ones have no noise at all."""
    noise = np.random.default_rng(rng.getrandbits(64))
    if kind == "photo":
        return photo_background(split, rng)
    if kind == "gradient":
        return Background(gradient(rng) + uniform_noise(noise, GRADIENT_NOISE, channels=1))
    colour = rng.choice(list(COLOURS))
    shift = noise.uniform(-COLOUR_SHIFT, COLOUR_SHIFT, 3).astype(np.float32)
    base = np.array(COLOURS[colour], np.float32) + shift
    amplitude, channels = (NOISE, 3) if kind == "noise" else (0 if rng.random() < flat_fraction else PLAIN_NOISE, 1)
    return Background(base + uniform_noise(noise, amplitude, channels), colour)


def add_clutter(image: Image.Image, rng: random.Random) -> None:
    """Draws a few small shapes and strokes of any colour, which no question is about."""
    canvas = ImageDraw.Draw(image)
    for _ in range(rng.randint(3, 9)):
        x, y, width, height = (rng.randint(low, high) for low, high in ((0, IMAGE_PX), (0, IMAGE_PX), (4, 40), (4, 40)))
        colour = tuple(rng.randrange(256) for _ in range(3))
        if rng.random() < 0.5:
            canvas.line((x, y, x + width * rng.choice((-1, 1)), y + height), fill=colour, width=rng.randint(1, 4))
        else:
            rng.choice((canvas.ellipse, canvas.rectangle))((x, y, x + width, y + height), fill=colour)


def uniform_noise(noise: np.random.Generator, amplitude: float, channels: int) -> Pixels:
    """Returns uniform noise, which is grey for one channel."""
    return noise.uniform(-amplitude, amplitude, (IMAGE_PX, IMAGE_PX, channels)).astype(np.float32)


def gradient(rng: random.Random) -> Pixels:
    """Returns a gradient from one colour to another, downwards or to the right."""
    start, stop = (np.array(COLOURS[rng.choice(list(COLOURS))], np.float32) for _ in range(2))
    share = np.linspace(0, 1, IMAGE_PX, dtype=np.float32)[:, None, None]
    pixels = np.broadcast_to(start * (1 - share) + stop * share, (IMAGE_PX, IMAGE_PX, 3))
    return pixels.transpose(1, 0, 2) if rng.random() < 0.5 else pixels


def photo_background(split: str, rng: random.Random) -> Background:
    """Returns a random square of the part of a photo that belongs to the split."""
    name = rng.choice(list(PHOTOS))
    photo = photo_part(name, split)
    side = rng.randint(min(photo.size) // 2, min(photo.size))
    x, y = rng.randint(0, photo.width - side), rng.randint(0, photo.height - side)
    piece = photo.crop((x, y, x + side, y + side)).resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BILINEAR)
    return Background(np.asarray(piece, np.float32), None, PHOTOS[name])
