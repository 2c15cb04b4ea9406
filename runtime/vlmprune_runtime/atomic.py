"""Writing a file whole or not at all."""

import os
import tempfile
from os import PathLike
from pathlib import Path

from PIL import Image

from vlmprune_runtime.errors import BadRequest


def save_png(picture: Image.Image, out: str | PathLike[str]) -> None:
    """The picture in `out`, which is replaced only when all of it is written."""
    path = check_png(out)
    try:
        handle, made = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                picture.save(file, "PNG")
            Path(made).chmod(0o666 & ~_umask())
            Path(made).replace(path)
        finally:
            Path(made).unlink(missing_ok=True)
    except OSError as error:
        raise BadRequest(f"{path}: cannot be written: {error.strerror}") from None


def check_png(out: str | PathLike[str]) -> Path:
    """`out` itself if a PNG file can be put there."""
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise BadRequest(f"{path}: the overlay is a picture; give a name that ends in .png")
    if not path.parent.is_dir():
        raise BadRequest(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise BadRequest(f"{path}: is a folder")
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
