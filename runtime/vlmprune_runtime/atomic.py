"""Writing a file or a folder whole or not at all."""

import os
import tempfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from vlmprune_runtime.errors import BadRequest


def save_png(picture: Image.Image, out: str | PathLike[str]) -> None:
    """The picture in `out`, which is replaced only when all of it is written."""
    _save(lambda file: picture.save(file, "PNG"), check_png(out))


def save_text(text: str, out: str | PathLike[str]) -> None:
    """The text in `out`, UTF-8, which is replaced only when all of it is written."""
    _save(lambda file: file.write(text.encode()), check_place(out))


def save_folder(files: Mapping[str, bytes], out: str | PathLike[str]) -> None:
    """A new folder `out` with these files in it."""
    path = check_folder(out)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".part", dir=path.parent) as scratch:
            made = Path(scratch) / "folder"
            made.mkdir()
            for name, content in files.items():
                (made / name).write_bytes(content)
            made.rename(path)
    except OSError as error:
        raise BadRequest(f"{path}: cannot be written: {error.strerror}") from None


def check_folder(out: str | PathLike[str]) -> Path:
    """`out` itself if a new folder can be put there."""
    path = Path(out)
    if path.exists():
        raise BadRequest(f"{path}: exists")
    return check_place(path)


def check_png(out: str | PathLike[str]) -> Path:
    """`out` itself if a PNG file can be put there."""
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise BadRequest(f"{path}: the overlay is a picture; give a name that ends in .png")
    return check_place(path)


def check_place(out: str | PathLike[str]) -> Path:
    """`out` itself if a file can be put there."""
    path = Path(out)
    if not path.parent.is_dir():
        raise BadRequest(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise BadRequest(f"{path}: is a folder")
    return path


def _save(write: Callable[[BinaryIO], object], path: Path) -> None:
    try:
        handle, made = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            Path(made).chmod(0o666 & ~_umask())
            Path(made).replace(path)
        finally:
            Path(made).unlink(missing_ok=True)
    except OSError as error:
        raise BadRequest(f"{path}: cannot be written: {error.strerror}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
