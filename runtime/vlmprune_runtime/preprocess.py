"""A picture as the model's vision stage wants it, equal to the Hugging Face image processor's."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_runtime.geometry import View, view_of
from vlmprune_runtime.picture import load_image
from vlmprune_runtime.schema import ImageSpec

__all__ = ["load_image", "preprocess", "seen_picture"]

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


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
    across, down = view.width.to_given, view.height.to_given
    box = (across(left), down(top), across(right), down(bottom))
    return image.resize((right - left, bottom - top), FILTERS[spec.resize.filter], box)
