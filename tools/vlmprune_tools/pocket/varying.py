"""Small changes to a picture of an object, so that a concept is more than the pixels of a few vendors."""

import random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

TURN_DEGREES, STRETCH, HUE, SLANT = 18, 0.25, 18, 0.2
DRAWN_OTHERWISE = 0.15  # share softened, share of few shades; half as many lose their colour


def vary(art: Image.Image, rng: random.Random) -> Image.Image:
    """An RGBA picture turned, stretched, slanted and recoloured a little."""
    wide, high = (max(8, int(side * rng.uniform(1 - STRETCH, 1))) for side in art.size)
    art = art.resize((wide, high), Image.Resampling.BICUBIC)
    art = slanted(art, rng.uniform(-SLANT, SLANT))
    art = art.rotate(rng.uniform(-TURN_DEGREES, TURN_DEGREES), Image.Resampling.BICUBIC, expand=True)
    alpha, colours = art.getchannel("A"), shift_hue(art.convert("RGB"), rng.randint(-HUE, HUE))
    for enhance in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        colours = enhance(colours).enhance(rng.uniform(0.5, 1.5))
    colours = drawn_otherwise(colours, rng)
    colours.putalpha(alpha)
    return colours.crop(colours.getbbox())


def slanted(art: Image.Image, by: float) -> Image.Image:
    """A picture whose upright lines lean by `by` of its height, on a wider canvas."""
    lean = abs(by) * art.height
    size = (art.width + int(lean), art.height)
    return art.transform(
        size, Image.Transform.AFFINE, (1, by, min(0.0, -by * art.height), 0, 1, 0), Image.Resampling.BICUBIC
    )


def drawn_otherwise(colours: Image.Image, rng: random.Random) -> Image.Image:
    """An RGB picture as another hand may have it: softer, of few shades, or without colour; most as they are."""
    if rng.random() < DRAWN_OTHERWISE:
        colours = colours.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2)))
    if rng.random() < DRAWN_OTHERWISE:
        colours = ImageOps.posterize(colours, rng.randint(2, 4))
    if rng.random() < DRAWN_OTHERWISE / 2:
        colours = ImageOps.grayscale(colours).convert("RGB")
    return colours


def shift_hue(image: Image.Image, by: int) -> Image.Image:
    """An RGB picture with its hue turned by `by` of 256."""
    hue, saturation, value = image.convert("HSV").split()
    turned = Image.fromarray((np.asarray(hue).astype(np.int16) + by).astype(np.uint8))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
