"""All that pictures come from, under one call: emoji scenes in every style, signs to read, easy-VQA."""

import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlmprune_export.pocket.tower import GRID, IMAGE_PX
from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_tools.extra import tools_package
from vlmprune_tools.pocket.artwork import Artwork
from vlmprune_tools.pocket.backgrounds import PHOTOS, background, photo_pixels
from vlmprune_tools.pocket.concepts import COLOURS, DIGITS, SHAPE_COLOURS, SHAPES, WORDS
from vlmprune_tools.pocket.scenes import Drawn, Scene, draw_scene, owners, patch_share
from vlmprune_tools.pocket.styles import STYLES, pick

SIGN_COLOURS = (
    ((0, 0, 0), (255, 255, 255)),
    ((255, 255, 255), (0, 0, 0)),
    ((255, 255, 255), (180, 20, 20)),
    ((0, 0, 0), (250, 220, 60)),
    ((255, 255, 255), (20, 60, 160)),
)
FONTS = ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono-Bold.ttf")

EASY_DEV = 3500  # picture of easy-VQA's train part from which on they are for choosing

Draw = Callable[[str, int], Drawn]


def source(name: str, artwork: Artwork) -> Draw:
    """The function (split, index) -> drawn picture of a source."""
    if name in STYLES:
        return lambda split, index: draw_scene(split, name, index, artwork)
    others: dict[str, Draw] = {"sign": draw_sign, "easy-vqa": draw_easy_vqa, "photo": draw_photo}
    if name not in others:
        raise UnknownName("source", name, [*STYLES, *others])
    return others[name]


def draw_sign(split: str, index: int) -> Drawn:
    """A sign with one word or one digit, on any background."""
    rng = random.Random(f"{split}/sign/{index}")
    behind = background(pick(STYLES["hard"].backgrounds, rng), split, rng, STYLES["hard"].flat)
    image = Image.fromarray(behind.pixels.clip(0, 255).astype(np.uint8))
    digit = rng.random() < 0.4
    answer = rng.choice(DIGITS if digit else WORDS)
    shown = str(DIGITS.index(answer)) if digit else rng.choice([answer, answer.upper(), answer.capitalize()])
    cover = paint_sign(image, shown, rng.randint(80, 140) if digit else rng.randint(48, 72), rng)
    asked = [("digit", "What number is shown?", answer) if digit else ("word", "What does the sign say?", answer)]
    if behind.colour:
        asked.append(("colour", "What color is the background?", behind.colour))
    return Drawn(Scene("sign", (), behind.colour, (), tuple(asked), (answer,)), np.asarray(image), owners(cover))


def paint_sign(image: Image.Image, text: str, size_px: int, rng: random.Random) -> Any:  # -> (1, N)
    """Paint a filled box with `text`; gives the share of each patch that the ink's rows and columns cover."""
    name, pad = rng.choice(FONTS), rng.randint(8, 20)
    box = sign_box(name, size_px, text)
    while box[2] - box[0] + 2 * pad > IMAGE_PX - 6:
        size_px, pad = int(size_px * 0.85), 8
        box = sign_box(name, size_px, text)
    width, height = box[2] - box[0], box[3] - box[1]
    x = rng.randint(0, max(0, IMAGE_PX - width - 2 * pad))
    y = rng.randint(0, max(0, IMAGE_PX - height - 2 * pad))
    ink, paper = rng.choice(SIGN_COLOURS)
    canvas = ImageDraw.Draw(image)
    canvas.rectangle((x, y, x + width + 2 * pad, y + height + 2 * pad), fill=paper)
    canvas.text((x + pad - box[0], y + pad - box[1]), text, font=font(name, size_px), fill=ink)
    mask = np.ones((min(height, IMAGE_PX - y - pad), min(width, IMAGE_PX - x - pad)), np.bool_)
    return patch_share(mask, x + pad, y + pad)[None]


def sign_box(name: str, size_px: int, text: str) -> tuple[int, int, int, int]:
    """Bounding box of the ink when drawn at the origin."""
    left, top, right, bottom = font(name, size_px).getbbox(text)
    return int(left), int(top), int(right), int(bottom)


@lru_cache(maxsize=512)
def font(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    """A font that comes with Matplotlib: the same pictures on every machine."""
    return ImageFont.truetype(Path(tools_package("matplotlib").get_data_path()) / "fonts" / "ttf" / name, size_px)


@lru_cache
def easy_vqa_questions(part: str) -> dict[int, list[tuple[str, str]]]:
    """(question, answer) pairs by picture of the published train or test part."""
    asked, answers, pictures = getattr(tools_package("easy_vqa"), f"get_{part}_questions")()
    by_picture: dict[int, list[tuple[str, str]]] = {}
    for question, answer, picture in zip(asked, answers, pictures, strict=True):
        by_picture.setdefault(picture, []).append((question[0].upper() + question[1:], answer))
    return by_picture


def draw_photo(split: str, index: int) -> Drawn:
    """A whole sample photo; naming any known concept that can be seen in it is right. Training saw its left half.

    There are few: `BadRequest` beyond the last, so that none counts twice.
    """
    shown = [name for name, concepts in PHOTOS.items() if concepts]
    if index >= len(shown):
        raise BadRequest(f"photo: got picture {index}; allowed: 0 to {len(shown) - 1}, one each")
    name = shown[index]
    pixels = Image.fromarray(photo_pixels(name)).convert("RGB").resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC)
    asked = ("photo", "What is in the picture?", "|".join(PHOTOS[name]))
    return Drawn(
        Scene("photo", shows=PHOTOS[name], asked=(asked,)),
        np.asarray(pixels),
        owners(np.zeros((0, GRID * GRID), np.float32)),
    )


def draw_easy_vqa(split: str, index: int) -> Drawn:
    """Picture `index` of easy-VQA; dev is the end of the published train part, the rest of which goes round."""
    part = "test" if split == "test" else "train"
    number = {"dev": EASY_DEV + index, "train": index % EASY_DEV}.get(split, index)
    paths = getattr(tools_package("easy_vqa"), f"get_{part}_image_paths")()
    image = Image.open(Path(paths[number])).convert("RGB")
    asked = tuple(("easy-vqa", question, answer) for question, answer in easy_vqa_questions(part)[number])
    large = np.asarray(image.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC))
    cover = patch_share(np.abs(large.astype(np.int32) - large[0, 0]).sum(-1) > 40, 0, 0)[None]
    return Drawn(Scene("easy-vqa", (), None, (), asked, easy_vqa_labels(asked)), large, owners(cover))


def easy_vqa_labels(asked: tuple[tuple[str, str, str], ...]) -> tuple[str, ...]:
    """Shape and colour of the one object, as far as the questions give them away."""
    true: set[str] = set()
    for _, question, answer in asked:
        words = set(question.rstrip("?").split())
        denied = bool(words & {"not", "no"})
        if answer not in ("yes", "no"):  # "What color is the circle?"
            true |= words | {answer}
        elif (answer == "yes") != denied:
            true |= words
    return tuple(name for name in (*SHAPES, *COLOURS, *SHAPE_COLOURS) if name in true)
