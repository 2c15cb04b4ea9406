"""Preprocesses an image for the vision stage; the pixels equal those of the Hugging Face image processor."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_runtime.geometry import Placement, View, only_view, placements, tile_boxes, views_of
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.resampling import apply_placement
from vlmprune_runtime.schema import Exact, ImageSpec, Resize, Split

__all__ = ["ImageView", "load_image", "preprocess", "preprocess_views", "view_image", "view_images"]

Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ImageView:
    """Holds the pixels (3, H, W) of one view, and where the view lies in the image."""

    pixels: Pixels
    view: View


def preprocess(image: Image.Image, spec: ImageSpec) -> Pixels:  # RGB -> (1, 3, H, W)
    """Returns the pixels of the only view of an image. Raises `BadRequest` if the image has several views."""
    return _pixels(view_image(image, spec), spec)[None]


def preprocess_views(image: Image.Image, spec: ImageSpec) -> tuple[ImageView, ...]:
    """Returns the views of an image in the order of the prompt: tiles row by row, the whole image last."""
    views = views_of(image.height, image.width, spec)
    resized = view_images(image, spec)
    return tuple(ImageView(_pixels(seen, spec), view) for view, seen in zip(views, resized, strict=True))


def view_image(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Returns the only view of an image before rescaling. Raises `BadRequest` if the image has several views."""
    only_view(image.height, image.width, spec)
    return view_images(image, spec)[0]


def view_images(image: Image.Image, spec: ImageSpec) -> list[Image.Image]:
    """Returns every view of an RGB image before rescaling."""
    for place in placements(image.height, image.width, spec.geometric_steps):
        image = apply_placement(image, place)
    return list(_split(image, spec.split)) if spec.split else [image]


def _split(image: Image.Image, split: Split) -> Iterator[Image.Image]:
    boxes = tile_boxes(image.height, image.width, split)
    yield from (image.crop(box) for box in boxes)
    yield apply_placement(image, _one_tile(image, split)) if boxes else image


def _one_tile(image: Image.Image, split: Split) -> Placement:
    to = Exact(height_px=split.tile_px, width_px=split.tile_px)
    return placements(image.height, image.width, [Resize(to=to, kernel=split.kernel)])[0]


def _pixels(image: Image.Image, spec: ImageSpec) -> Pixels:  # -> (3, H, W)
    values = np.asarray(image, dtype=np.float32) * np.float32(spec.rescale.factor)
    mean, std = (np.array(row, dtype=np.float32) for row in (spec.normalise.mean, spec.normalise.std))
    return np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1), dtype=np.float32)
