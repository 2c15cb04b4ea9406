"""Reading a picture into RGB, whatever it is stored as."""

import warnings
from os import PathLike
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vlmprune_runtime.errors import BadRequest, first_line

ImageSource = str | PathLike[str] | BinaryIO | Image.Image

MAX_IMAGE_PIXELS = 100_000_000
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def load_image(source: ImageSource) -> Image.Image:
    """The picture upright (EXIF), in RGB, transparency on white; `BadRequest` if it is none or too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = source if isinstance(source, Image.Image) else Image.open(source)
        _check_size(image)
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))
    except BadRequest:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BadRequest(f"image {source!s}: {error.strerror}") from None
    except UnidentifiedImageError:
        raise BadRequest(f"image {_named(source)}: not a picture in a known format") from None
    except Exception as error:  # decoders meet hostile bytes with nearly any exception
        raise BadRequest(f"image {_named(source)}: broken picture: {first_line(error)}") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB as Hugging Face's processors make it, but more than 8 bits are scaled instead of clipped."""
    if image.mode in DEEP_MODES:
        image = to_eight_bits(image)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


def to_eight_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 or 32 bits or of floats, brought to 0..255 by the range it was made for."""
    grey = np.nan_to_num(np.asarray(image, dtype=np.float64))
    brightest = float(grey.max())
    tops = (65535.0,) if image.mode.startswith("I;16") else (255.0, 65535.0)
    if image.mode == "F":
        tops = (1.0, *tops)
    top = next((top for top in tops if brightest <= top), brightest)
    return Image.fromarray((grey.clip(0, top) * (255 / top)).round().astype(np.uint8))


def _check_size(image: Image.Image) -> None:
    pixels = image.width * image.height
    if not 0 < pixels <= MAX_IMAGE_PIXELS:
        size = f"{image.width} x {image.height}"
        raise BadRequest(f"image is {size} = {pixels} pixels; allowed: 1 to {MAX_IMAGE_PIXELS}")


def _named(source: ImageSource) -> str:
    return str(source) if isinstance(source, str | PathLike) else type(source).__name__
