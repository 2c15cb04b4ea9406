"""Real photos from the packages scikit-image and scikit-learn, and cuts of them."""

from functools import cache
from pathlib import Path

import numpy as np
import skimage
import sklearn
from PIL import Image

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = Path(sklearn.__file__).parent / "datasets" / "images"
WHOLE = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
)
GREY = ("camera.png", "coins.png", "moon.png", "brick.png")
CUTS = ((0, 0, 201, 333), (17, 40, 300, 200), (60, 9, 301, 250))


@cache
def photos() -> dict[str, Image.Image]:
    """22 images by name: 12 as they are and 10 cut, scaled, turned or mirrored."""
    paths = [SKIMAGE / name for name in WHOLE + GREY] + [SKLEARN / name for name in ("china.jpg", "flower.jpg")]
    whole = {path.stem: Image.open(path).copy() for path in paths}
    cuts = {f"{name} {box}": whole[name].crop(box) for name in ("china", "coffee") for box in CUTS}
    turned = {
        "flower turned": whole["flower"].rotate(90, expand=True),
        "china mirrored": whole["china"].transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "astronaut small": whole["astronaut"].resize((123, 77)),
        "rocket large": whole["rocket"].resize((1500, 1001)),
    }
    return whole | cuts | turned


@cache
def odd_images() -> dict[str, Image.Image]:
    """Shapes and modes that processors stumble over."""
    dice, sizes = (
        np.random.default_rng(0),
        [(1, 50), (50, 1), (1, 1), (3, 700), (337, 336), (335, 500), (640, 335)],
    )
    noise = {f"noise {w} x {h}": Image.fromarray(dice.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes}
    flower, coffee = photos()["flower"], photos()["coffee"]
    alpha = Image.merge("RGBA", (*coffee.split(), coffee.convert("L")))
    see_through = coffee.quantize(16)
    see_through.info["transparency"] = 3
    return noise | {
        "grey": flower.convert("L"),
        "one bit": flower.convert("1"),
        "palette": flower.quantize(32),
        "palette with transparency": see_through,
        "alpha": alpha,
        "grey alpha": alpha.convert("LA"),
        "cmyk": flower.convert("CMYK"),
        "ycbcr": flower.convert("YCbCr"),
        "12 MP": flower.resize((4000, 3000), Image.Resampling.BICUBIC),
    }
