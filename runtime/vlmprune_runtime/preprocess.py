"""A picture as the model's vision stage wants it, equal to the Hugging Face image processor's."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_runtime.geometry import View, view_of
from vlmprune_runtime.picture import load_image
from vlmprune_runtime.schema import ImageSpec

__all__ = ["load_image", "preprocess", "seen_picture"]

SUPPORT = {"nearest": 1, "bilinear": 1, "bicubic": 2, "lanczos": 3}


def preprocess(image: Image.Image, spec: ImageSpec) -> npt.NDArray[np.float32]:  # RGB -> (1, 3, H, W)
    """Resized, cropped, padded, rescaled and normalised pixels."""
    seen = np.asarray(seen_picture(image, spec), dtype=np.float32)
    mean, std = (np.array(values, dtype=np.float32) for values in (spec.mean, spec.std))
    pixels = (seen * np.float32(spec.rescale) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)


def seen_picture(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """The picture as the model sees it, before rescaling.

    Only the part that survives the crop is computed: 1 x 20000 pixels at shortest edge 336 would otherwise
    take gigabytes.
    """
    view = view_of(image.width, image.height, spec)
    part = _resized_part(image, view, spec)
    if part.size == (view.width.seen_px, view.height.seen_px):
        return part
    canvas = Image.new("RGB", (view.width.seen_px, view.height.seen_px))
    canvas.paste(part, (max(-view.width.start_px, 0), max(-view.height.start_px, 0)))
    return canvas


def _resized_part(image: Image.Image, view: View, spec: ImageSpec) -> Image.Image:
    (left, right), (top, bottom) = view.width.shown, view.height.shown
    if spec.resize is None:
        return image.crop((left, top, right, bottom))
    return _resized(image, view, spec.resize.filter)


def _resized(image: Image.Image, view: View, kind: str) -> Image.Image:
    """The seen part, resized across and then down as a whole one is; given a box Pillow may turn that."""
    left, right, box_left, box_right = view.width.source(SUPPORT[kind])
    top, bottom, box_top, box_bottom = view.height.source(SUPPORT[kind])
    (first_x, last_x), (first_y, last_y) = view.width.shown, view.height.shown
    part, width = image.crop((left, top, right, bottom)), last_x - first_x
    resample = Image.Resampling[kind.upper()]
    across = part.resize((width, part.height), resample, (box_left, 0, box_right, part.height))
    return across.resize((width, last_y - first_y), resample, (0, box_top, width, box_bottom))
