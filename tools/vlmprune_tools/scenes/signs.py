"""Renders signs with one word or one digit, on any background."""

import random
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vlmprune_export.pocket_model.vision_tower import IMAGE_PX
from vlmprune_tools.optional_packages import tools_package
from vlmprune_tools.scenes.backgrounds import make_background
from vlmprune_tools.scenes.concepts import DIGITS, WORDS
from vlmprune_tools.scenes.patches import patch_coverage, patch_owners
from vlmprune_tools.scenes.scene import Question, RenderedScene, Scene
from vlmprune_tools.scenes.styles import STYLES, weighted_choice

INK_AND_PAPER = (
    ((0, 0, 0), (255, 255, 255)),
    ((255, 255, 255), (0, 0, 0)),
    ((255, 255, 255), (180, 20, 20)),
    ((0, 0, 0), (250, 220, 60)),
    ((255, 255, 255), (20, 60, 160)),
)
FONTS = ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono-Bold.ttf")
DIGIT_FRACTION, DIGIT_PX, WORD_PX = 0.4, (80, 140), (48, 72)


def render_sign(split: str, index: int) -> RenderedScene:
    """Renders sign `index` of a split."""
    rng, style = random.Random(f"{split}/sign/{index}"), STYLES["hard"]
    background = make_background(weighted_choice(style.backgrounds, rng), split, rng, style.flat_fraction)
    image = Image.fromarray(background.pixels.clip(0, 255).astype(np.uint8))
    is_digit = rng.random() < DIGIT_FRACTION
    answer = rng.choice(DIGITS if is_digit else WORDS)
    text = str(DIGITS.index(answer)) if is_digit else rng.choice([answer, answer.upper(), answer.capitalize()])
    coverage = paint_sign(image, text, rng.randint(*(DIGIT_PX if is_digit else WORD_PX)), rng)
    family, question = ("digit", "What number is shown?") if is_digit else ("word", "What does the sign say?")
    questions = [Question(family, question, answer)]
    if background.colour:
        questions.append(Question("colour", "What color is the background?", background.colour))
    scene = Scene("sign", (), background.colour, (), tuple(questions), (answer,))
    return RenderedScene(scene, np.asarray(image), patch_owners(coverage))


def paint_sign(image: Image.Image, text: str, size_px: int, rng: random.Random) -> npt.NDArray[np.float32]:  # -> (1, N)
    """Paints a filled box with `text`; returns the share of each patch within the bounds of the ink."""
    name, pad = rng.choice(FONTS), rng.randint(8, 20)
    box = ink_box(name, size_px, text)
    while box[2] - box[0] + 2 * pad > IMAGE_PX - 6:
        size_px, pad = int(size_px * 0.85), 8
        box = ink_box(name, size_px, text)
    width, height = box[2] - box[0], box[3] - box[1]
    x = rng.randint(0, max(0, IMAGE_PX - width - 2 * pad))
    y = rng.randint(0, max(0, IMAGE_PX - height - 2 * pad))
    ink, paper = rng.choice(INK_AND_PAPER)
    canvas = ImageDraw.Draw(image)
    canvas.rectangle((x, y, x + width + 2 * pad, y + height + 2 * pad), fill=paper)
    canvas.text((x + pad - box[0], y + pad - box[1]), text, font=font(name, size_px), fill=ink)
    mask = np.ones((min(height, IMAGE_PX - y - pad), min(width, IMAGE_PX - x - pad)), np.bool_)
    return patch_coverage(mask, x + pad, y + pad)[None]


def ink_box(name: str, size_px: int, text: str) -> tuple[int, int, int, int]:
    """Returns the bounding box of the ink of a text at the origin."""
    left, top, right, bottom = font(name, size_px).getbbox(text)
    return int(left), int(top), int(right), int(bottom)


@lru_cache(maxsize=512)
def font(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    """Loads a font that comes with Matplotlib, so that images are the same on every machine."""
    return ImageFont.truetype(Path(tools_package("matplotlib").get_data_path()) / "fonts" / "ttf" / name, size_px)
