"""Loads an image file of any format as an RGB image."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import ceil
from os import PathLike
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from vlmprune_runtime.errors import MAX_CAUSE_CHARS, BadRequest, first_line, printable, shorten
from vlmprune_runtime.heic import is_heic, register_heic

ImageSource = str | PathLike[str] | BinaryIO | Image.Image

# An image above the first limit is reduced. Most formats must be decoded in full first, which the second limit bounds.
# A JPEG file can be decoded at a half, a quarter or an eighth of its size, so its limit is higher.
MAX_IMAGE_PIXELS, MAX_DECODED_PIXELS, MAX_JPEG_PIXELS = 100_000_000, 2**27, 2**28
ORIENTATION_TAG = 274
ORIENTATIONS = {
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
    """Returns the image in RGB, upright (EXIF), with transparency on white, reduced to at most 100 megapixels.

    A part that is ignored or a size that is reduced is logged as a warning. Raises `BadRequest` for a source that is no
    image, or too large.
    """
    name = _named(source)
    with _named_problems(name):
        image = source if isinstance(source, Image.Image) else _opened(source)
        _check_size(image)
        stored = image.size
        if image is not source:
            _decode_smaller(image)
        image.load()
        turn = _orientation(image, name)  # after loading, since Pillow turns TIFF files itself when it loads them
        loaded = to_rgb(_reduced(image))
    if loaded.width * loaded.height < stored[0] * stored[1]:
        _warn_once(f"image {name}: {_shape(stored)} are many: used at {_shape(loaded.size)}")
    return loaded if turn is None else loaded.transpose(turn)


def check_image(source: ImageSource) -> None:
    """Raises `BadRequest` for what `load_image` refuses by the header alone, so that nothing is loaded in vain."""
    if isinstance(source, Image.Image):
        return
    with _named_problems(_named(source)), _opened(source) as image:
        _check_size(image)


@contextmanager
def _named_problems(name: str) -> Iterator[None]:
    """Turns whatever is raised while an image is read into a `BadRequest` that names the image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings do not say what follows for the user; ours do
            yield
    except BadRequest as error:
        raise BadRequest(f"image {name}: {error}") from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BadRequest(f"image {name}: {error.strerror}") from None
    except UnidentifiedImageError:
        raise BadRequest(f"image {name}: not an image in a known format") from None
    except Exception as error:  # decoders raise nearly any exception for hostile bytes
        raise BadRequest(f"image {name}: broken image: {first_line(error)}") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns RGB as Hugging Face's processors do, except that it scales more than 8 bits, not clips."""
    if image.mode in DEEP_MODES:
        image = to_8_bits(image)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


def to_8_bits(image: Image.Image) -> Image.Image:
    """Scales a grey image of 16 or 32 bits or of floats to 0..255, by the smallest usual range of its values."""
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
    except Image.DecompressionBombError:  # Pillow applies its limit to JPEG files too
        return _opened_jpeg(source)


def _opened_jpeg(source: str | PathLike[str] | BinaryIO) -> Image.Image:
    if not isinstance(source, str | PathLike):
        source.seek(0)
    try:
        return JpegImageFile(source)
    except SyntaxError:
        raise BadRequest(f"has too many pixels; allowed: 1 to {MAX_DECODED_PIXELS}") from None


def _orientation(image: Image.Image, name: str) -> Image.Transpose | None:
    """Returns how the EXIF block says to turn the image, None if there is no block or it cannot be read."""
    try:
        turn = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # a damaged block is no reason to refuse pixels that can be read
        turn = None
    if turn is None and _is_damaged(image.info.get("exif")):
        _warn_once(f"image {name}: its EXIF block is damaged: used as it is stored, not turned")
    return ORIENTATIONS.get(turn) if isinstance(turn, int) else None


def _is_damaged(block: bytes | None) -> bool:
    """Says whether Pillow fails on an EXIF block or warns.

    Pillow warns only once of an image's own block, so this loads the bytes anew.
    """
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
    """Sets a JPEG file to be decoded at the first of 1/2, 1/4 and 1/8 that is small enough."""
    factor = _factor(image)
    if factor > 1 and isinstance(image, JpegImageFile):
        image.draft(None, (image.width // factor, image.height // factor))


def _reduced(image: Image.Image) -> Image.Image:
    """Returns the image reduced below the limit, if possible before conversion, which doubles the memory."""
    factor = _factor(image)
    if factor == 1:
        return image
    plain = image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info
    return (image if plain else to_rgb(image)).reduce(factor)


def _factor(image: Image.Image) -> int:
    """Returns the power of two by which both sides are divided."""
    factor = 1
    while ceil(image.width / factor) * ceil(image.height / factor) > MAX_IMAGE_PIXELS:
        factor *= 2
    return factor


@lru_cache(maxsize=1000)
def _warn_once(text: str) -> None:
    """Warns once of each text, since a benchmark loads the same image many times."""
    _log.warning(text)


def _shape(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def _named(source: ImageSource) -> str:
    name = str(source) if isinstance(source, str | PathLike) else type(source).__name__
    return shorten(printable(name), MAX_CAUSE_CHARS)
