"""Renders the images of easy-VQA: one coloured shape each, with published questions."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from vlmprune_export.pocket_model.vision_tower import IMAGE_PX
from vlmprune_tools.optional_packages import tools_package
from vlmprune_tools.scenes.concepts import COLOURS, SHAPE_COLOURS, SHAPES
from vlmprune_tools.scenes.patches import patch_coverage, patch_owners
from vlmprune_tools.scenes.scene import Question, RenderedScene, Scene

FIRST_DEV = 3500  # images of the published train part from this one on are for choosing
SHAPE_CONTRAST = 40  # summed over the channels; pixels that differ more from the corner belong to the shape


def render_easy_vqa(split: str, index: int) -> RenderedScene:
    """Renders image `index`; dev is the end of the published train part, and training repeats the rest of it."""
    part = "test" if split == "test" else "train"
    number = {"dev": FIRST_DEV + index, "train": index % FIRST_DEV}.get(split, index)
    paths = getattr(tools_package("easy_vqa"), f"get_{part}_image_paths")()
    image = Image.open(Path(paths[number])).convert("RGB")
    pixels = np.asarray(image.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC))
    shape = np.abs(pixels.astype(np.int32) - pixels[0, 0]).sum(-1) > SHAPE_CONTRAST
    questions = published_questions(part)[number]
    scene = Scene("easy-vqa", questions=questions, labels=shape_and_colour(questions))
    return RenderedScene(scene, pixels, patch_owners(patch_coverage(shape, 0, 0)[None]))


@lru_cache
def published_questions(part: str) -> dict[int, tuple[Question, ...]]:
    """Returns the questions of the published train or test part, by image."""
    texts, answers, images = getattr(tools_package("easy_vqa"), f"get_{part}_questions")()
    by_image: dict[int, tuple[Question, ...]] = {}
    for text, answer, image in zip(texts, answers, images, strict=True):
        question = Question("easy-vqa", text[0].upper() + text[1:], answer)
        by_image[image] = (*by_image.get(image, ()), question)
    return by_image


def shape_and_colour(questions: Iterable[Question]) -> tuple[str, ...]:
    """Returns the shape and the colour of the only object, as far as its questions reveal them."""
    revealed: set[str] = set()
    for _, text, answer in questions:
        words = set(text.rstrip("?").split())
        negated = bool(words & {"not", "no"})
        if answer not in ("yes", "no"):  # "What color is the circle?"
            revealed |= words | {answer}
        elif (answer == "yes") != negated:
            revealed |= words
    return tuple(name for name in (*SHAPES, *COLOURS, *SHAPE_COLOURS) if name in revealed)
