"""A picture as the model's vision stage wants it, equal to the Hugging Face image processor's."""

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
    """One view of an image: its pixels (3, H, W), and where it lies in the image."""

    pixels: Pixels
    view: View


def preprocess(image: Image.Image, spec: ImageSpec) -> Pixels:  # RGB -> (1, 3, H, W)
    """Pixels of the only view of a picture; `BadRequest` where it is seen as tiles."""
    return _values(view_image(image, spec), spec)[None]


def preprocess_views(image: Image.Image, spec: ImageSpec) -> tuple[ImageView, ...]:
    """Every view of a picture in the order of the prompt: tiles row by row, the whole picture last."""
    views = views_of(image.height, image.width, spec)
    pictures = view_images(image, spec)
    return tuple(ImageView(_values(seen, spec), view) for view, seen in zip(views, pictures, strict=True))


def view_image(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """The only view of a picture before rescaling; `BadRequest` where it is seen as tiles."""
    only_view(image.height, image.width, spec)
    return view_images(image, spec)[0]


def view_images(image: Image.Image, spec: ImageSpec) -> list[Image.Image]:
    """Every view of an RGB picture before rescaling."""
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


def _values(seen: Image.Image, spec: ImageSpec) -> Pixels:  # -> (3, H, W)
    values = np.asarray(seen, dtype=np.float32) * np.float32(spec.rescale.factor)
    mean, std = (np.array(row, dtype=np.float32) for row in (spec.normalise.mean, spec.normalise.std))
    return np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1), dtype=np.float32)
