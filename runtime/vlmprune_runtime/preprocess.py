"""A picture as the model's vision stage wants it, equal to the Hugging Face image processor's."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_runtime.geometry import View, view_of
from vlmprune_runtime.picture import load_image
from vlmprune_runtime.schema import ImageSpec

__all__ = ["load_image", "preprocess", "seen_picture"]

WHOLE_PX = 2**24
SUPPORT = {"nearest": 1, "bilinear": 1, "bicubic": 2, "lanczos": 3}


def preprocess(image: Image.Image, spec: ImageSpec) -> npt.NDArray[np.float32]:  # RGB -> (1, 3, H, W)
    """Resized, cropped, padded, rescaled and normalised pixels."""
    seen = np.asarray(seen_picture(image, spec), dtype=np.float32)
    mean, std = (np.array(values, dtype=np.float32) for values in (spec.mean, spec.std))
    pixels = (seen * np.float32(spec.rescale) - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)


def seen_picture(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """The picture as the model sees it, before rescaling.

    Always resized across first and then down, as torchvision does. Pillow 13 picks an order by the sizes, and
    since values are rounded in between, that would be seen: up to 7/255 in single pixels.
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
    if view.width.resized_px * view.height.resized_px <= WHOLE_PX:
        return _whole_resized(image, view, Image.Resampling[spec.resize.filter.upper()])
    return _box_resized(image, view, spec.resize.filter)


def _whole_resized(image: Image.Image, view: View, resample: Image.Resampling) -> Image.Image:
    """Resized across, then down, and cropped."""
    (left, right), (top, bottom) = view.width.shown, view.height.shown
    across = image.resize((view.width.resized_px, image.height), resample)
    columns = across.crop((left, 0, right, image.height))
    down = columns.resize((columns.width, view.height.resized_px), resample)
    return down.crop((0, top, down.width, bottom))


def _box_resized(image: Image.Image, view: View, kind: str) -> Image.Image:
    """The same for a picture that would get huge: only what is seen, from the pixels it depends on."""
    left, right, box_left, box_right = view.width.source(SUPPORT[kind])
    top, bottom, box_top, box_bottom = view.height.source(SUPPORT[kind])
    (first_x, last_x), (first_y, last_y) = view.width.shown, view.height.shown
    part, width = image.crop((left, top, right, bottom)), last_x - first_x
    resample = Image.Resampling[kind.upper()]
    across = part.resize((width, part.height), resample, (box_left, 0, box_right, part.height))
    return across.resize((width, last_y - first_y), resample, (0, box_top, width, box_bottom))
