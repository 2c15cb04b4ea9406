"""Reading a picture into RGB, whatever it is stored as."""

import logging
import warnings
from functools import lru_cache
from math import ceil
from os import PathLike
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from vlmprune_runtime.errors import BadRequest, first_line
from vlmprune_runtime.heic import is_heic, register_heic

ImageSource = str | PathLike[str] | BinaryIO | Image.Image

# A picture above the first limit is reduced. Most formats must be decoded whole for that, a JPEG file can be decoded
# at a half, a quarter or an eighth.
MAX_IMAGE_PIXELS, MAX_DECODED_PIXELS, MAX_JPEG_PIXELS = 100_000_000, 2**27, 2**28
ORIENTATION_TAG = 274
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")

_log = logging.getLogger(__name__)


def load_image(source: ImageSource) -> Image.Image:
    """The picture upright (EXIF), in RGB, transparency on white, reduced to at most 100 megapixels.

    What had to be ignored or reduced is logged as a warning. Errors: `BadRequest` if it is no picture or too large.
    """
    name = _named(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own: ours say what follows for the user
            image = source if isinstance(source, Image.Image) else _opened(source)
            _check_size(image)
            given = image.size
            if image is not source:
                _decode_smaller(image)
            image.load()
            turn = _turn(image, name)  # after loading, for Pillow turns TIFF files itself then
            seen = to_rgb(_reduced(image))
    except BadRequest as error:
        raise BadRequest(f"image {name}: {error}") from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BadRequest(f"image {name}: {error.strerror}") from None
    except UnidentifiedImageError:
        raise BadRequest(f"image {name}: not a picture in a known format") from None
    except Exception as error:  # decoders meet hostile bytes with nearly any exception
        raise BadRequest(f"image {name}: broken picture: {first_line(error)}") from None
    if seen.width * seen.height < given[0] * given[1]:
        _warn_once(f"image {name}: {_shape(given)} are many: used at {_shape(seen.size)}")
    return seen if turn is None else seen.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB as Hugging Face's processors make it, but more than 8 bits are scaled instead of clipped."""
    if image.mode in DEEP_MODES:
        image = to_8_bits(image)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


def to_8_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 or 32 bits or of floats, brought to 0..255 by the range it was made for."""
    grey = np.nan_to_num(np.asarray(image, dtype=np.float64))
    brightest = float(grey.max())
    tops = (65535.0,) if image.mode.startswith("I;16") else (255.0, 65535.0)
    if image.mode == "F":
        tops = (1.0, *tops)
    top = next((top for top in tops if brightest <= top), brightest)
    return Image.fromarray((grey.clip(0, top) * (255 / top)).round().astype(np.uint8))


def _opened(source: str | PathLike[str] | BinaryIO) -> Image.Image:
    try:
        return Image.open(source)
    except UnidentifiedImageError:
        if not is_heic(source):
            raise
        register_heic()
        return Image.open(source)
    except Image.DecompressionBombError:  # Pillow's limit, which it has for JPEG files too
        return _opened_jpeg(source)


def _opened_jpeg(source: str | PathLike[str] | BinaryIO) -> Image.Image:
    if not isinstance(source, str | PathLike):
        source.seek(0)
    try:
        return JpegImageFile(source)
    except SyntaxError:
        raise BadRequest(f"has too many pixels; allowed: 1 to {MAX_DECODED_PIXELS}") from None


def _turn(image: Image.Image, name: str) -> Image.Transpose | None:
    """How the EXIF block says to turn the picture; a block that cannot be read says nothing."""
    try:
        turn = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # damaged in one of many ways, and no reason to refuse pixels that are whole
        turn = None
    if turn is None and _is_damaged(image.info.get("exif")):
        _warn_once(f"image {name}: its EXIF block is damaged: used as it is stored, not turned")
    return TURNS.get(turn) if isinstance(turn, int) else None


def _is_damaged(block: bytes | None) -> bool:
    """Whether Pillow fails on an EXIF block or complains; asked twice for a picture's own, it would say nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            Image.Exif().load(block or b"")
        except Exception:
            return True
    return False


def _check_size(image: Image.Image) -> None:
    pixels = image.width * image.height
    allowed = MAX_JPEG_PIXELS if isinstance(image, JpegImageFile) else MAX_DECODED_PIXELS
    if not 0 < pixels <= allowed:
        raise BadRequest(f"{image.width} x {image.height} = {pixels} pixels; allowed: 1 to {allowed}")


def _decode_smaller(image: Image.Image) -> None:
    """Has a JPEG file decoded at the first of 1/2, 1/4, 1/8 that is small enough."""
    factor = _factor(image)
    if factor > 1 and isinstance(image, JpegImageFile):
        image.draft(None, (image.width // factor, image.height // factor))


def _reduced(image: Image.Image) -> Image.Image:
    """Small enough, before it is converted where its mode allows that: conversion takes as much memory again."""
    factor = _factor(image)
    if factor == 1:
        return image
    plain = image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info
    return (image if plain else to_rgb(image)).reduce(factor)


def _factor(image: Image.Image) -> int:
    """The power of two that both sides are divided by."""
    factor = 1
    while ceil(image.width / factor) * ceil(image.height / factor) > MAX_IMAGE_PIXELS:
        factor *= 2
    return factor


@lru_cache(maxsize=1000)
def _warn_once(text: str) -> None:
    """A benchmark reads the same picture again and again."""
    _log.warning(text)


def _shape(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def _named(source: ImageSource) -> str:
    return str(source) if isinstance(source, str | PathLike) else type(source).__name__
