"""Prepares a question for prefill: its token ids, and the pixels of every view of its images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from tokenizers import Tokenizer

from vlmprune_runtime.preprocess import ImageView, preprocess_views
from vlmprune_runtime.prompt import EncodedPrompt, ImagePlace, encode_prompt
from vlmprune_runtime.schema import ImageSpec, Pipeline, PromptSpec


@dataclass(frozen=True)
class SeenImage:
    """Holds the views of an image in the order of the prompt, and the places that they take there."""

    views: tuple[ImageView, ...]
    place: ImagePlace


@dataclass(frozen=True)
class Question:
    """Holds the token ids of a question, and its images."""

    prompt: EncodedPrompt
    images: tuple[SeenImage, ...]

    @property
    def pixels(self) -> list[npt.NDArray[np.float32]]:
        """The pixels (1, 3, H, W) of every view of all images."""
        return [view.pixels[None] for image in self.images for view in image.views]


def see(pipeline: Pipeline, spec: ImageSpec, image: Image.Image) -> SeenImage:
    """Returns an image as the model sees it. Raises `BadRequest` for a view whose size no grid of the bundle has."""
    views = preprocess_views(image, spec)
    grids = tuple(pipeline.grid_index(view.view.height_px, view.view.width_px) for view in views)
    return SeenImage(views, ImagePlace(grids, *_tiles_of(views)))


def _tiles_of(views: Sequence[ImageView]) -> tuple[int, int]:
    """Returns the rows and columns of tiles: those of the last tile, counted from 1; 0 x 0 without tiles."""
    tiles = [seen.view for seen in views if seen.view.role == "tile"]
    return (1 + (tiles[-1].row or 0), 1 + (tiles[-1].column or 0)) if tiles else (0, 0)


def ask(
    pipeline: Pipeline,
    spec: ImageSpec,
    prompt: tuple[Tokenizer, PromptSpec],
    text: str,
    images: Sequence[Image.Image],
) -> Question:
    """Returns a first question about images, which are given in the order of their places in the prompt."""
    seen = tuple(see(pipeline, spec, image) for image in images)
    encoded = encode_prompt(*prompt, pipeline.view_tokens, text, [image.place for image in seen])
    return Question(encoded, seen)
