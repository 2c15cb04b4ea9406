"""Small changes to a picture of an object, so that a concept is more than the pixels of a few vendors."""

import random

import numpy as np
from PIL import Image, ImageEnhance

TURN_DEGREES, STRETCH, HUE = 14, 0.18, 14


def vary(art: Image.Image, rng: random.Random) -> Image.Image:
    """An RGBA picture turned, stretched and recoloured a little."""
    wide, high = (max(8, int(side * rng.uniform(1 - STRETCH, 1))) for side in art.size)
    art = art.resize((wide, high), Image.Resampling.BICUBIC)
    art = art.rotate(rng.uniform(-TURN_DEGREES, TURN_DEGREES), Image.Resampling.BICUBIC, expand=True)
    alpha, colours = art.getchannel("A"), shift_hue(art.convert("RGB"), rng.randint(-HUE, HUE))
    for enhance in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        colours = enhance(colours).enhance(rng.uniform(0.6, 1.4))
    colours.putalpha(alpha)
    return colours.crop(colours.getbbox())


def shift_hue(image: Image.Image, by: int) -> Image.Image:
    """An RGB picture with its hue turned by `by` of 256."""
    hue, saturation, value = image.convert("HSV").split()
    turned = Image.fromarray((np.asarray(hue).astype(np.int16) + by).astype(np.uint8))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
