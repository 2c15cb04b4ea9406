"""Augments artwork a little, so that a concept is more than the pixels of a few vendors."""

import random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

TURN_DEGREES, STRETCH, HUE, SHEAR = 18, 0.25, 18, 0.2
RESTYLED_FRACTION = 0.15  # share that is softened, share of few shades; half as many lose their colour


def augment(art: Image.Image, rng: random.Random) -> Image.Image:
    """Turns, stretches, shears and recolours an RGBA image a little."""
    width, height = (max(8, int(side * rng.uniform(1 - STRETCH, 1))) for side in art.size)
    art = art.resize((width, height), Image.Resampling.BICUBIC)
    art = shear(art, rng.uniform(-SHEAR, SHEAR))
    art = art.rotate(rng.uniform(-TURN_DEGREES, TURN_DEGREES), Image.Resampling.BICUBIC, expand=True)
    alpha, colours = art.getchannel("A"), shift_hue(art.convert("RGB"), rng.randint(-HUE, HUE))
    for enhance in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        colours = enhance(colours).enhance(rng.uniform(0.5, 1.5))
    colours = restyle(colours, rng)
    colours.putalpha(alpha)
    return colours.crop(colours.getbbox())


def shear(art: Image.Image, by: float) -> Image.Image:
    """Shears an image sideways by `by` of its height, on a wider canvas."""
    lean = abs(by) * art.height
    size = (art.width + int(lean), art.height)
    return art.transform(
        size, Image.Transform.AFFINE, (1, by, min(0.0, -by * art.height), 0, 1, 0), Image.Resampling.BICUBIC
    )


def restyle(colours: Image.Image, rng: random.Random) -> Image.Image:
    """Softens an RGB image, reduces its shades or removes its colour; most images stay as they are."""
    if rng.random() < RESTYLED_FRACTION:
        colours = colours.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2)))
    if rng.random() < RESTYLED_FRACTION:
        colours = ImageOps.posterize(colours, rng.randint(2, 4))
    if rng.random() < RESTYLED_FRACTION / 2:
        colours = ImageOps.grayscale(colours).convert("RGB")
    return colours


def shift_hue(image: Image.Image, by: int) -> Image.Image:
    """Turns the hue of an RGB image by `by` of 256."""
    hue, saturation, value = image.convert("HSV").split()
    turned = Image.fromarray((np.asarray(hue).astype(np.int16) + by).astype(np.uint8))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
