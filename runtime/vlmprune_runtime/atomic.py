"""Writing a file or a folder whole or not at all, and never over something that is not ours to replace."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vlmprune_runtime.errors import BadRequest, shown

MARK = "vlmprune"
PNG_MARK = b"Software\0" + MARK.encode()
SEARCHED_BYTES = 4096  # at the start of a file for a mark
Marks = tuple[bytes, ...]


@dataclass(frozen=True)
class Place:
    """Where a file will go, and what was there when the command began: None, or the file's identity."""

    path: Path
    before: tuple[int, ...] | None


def save_png(picture: Image.Image, out: str | PathLike[str] | Place) -> None:
    """Writes the picture to `out`; only a picture of ours is replaced, and only when all of the new one is written."""
    info = PngInfo()
    info.add_text("Software", MARK)
    place = out if isinstance(out, Place) else check_png(out)
    _save(lambda file: picture.save(file, "PNG", pnginfo=info), place)


def save_text(text: str, out: str | PathLike[str] | Place, marks: Marks = ()) -> None:
    """Writes the text to `out` in UTF-8; a file is replaced only when all of the new one is written.

    An existing file is replaced only where one of `marks` stands in its first 4096 bytes; without marks any is.
    """
    place = out if isinstance(out, Place) else check_place(out, marks)
    _save(lambda file: file.write(text.encode()), place)


def save_folder(files: Mapping[str, bytes], out: str | PathLike[str]) -> None:
    """Makes a new folder `out` with these files in it."""
    path = check_folder(out)
    with writing(path), tempfile.TemporaryDirectory(prefix=".vlmprune-", dir=path.parent) as scratch:
        made = Path(scratch) / "folder"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)
        try:
            move_folder(made, path)
        except FileExistsError:
            raise BadRequest(f"{shown(path)}: exists") from None


def move_folder(source: Path, target: Path) -> None:
    """Renames a folder to a new name on the same disk; raises `FileExistsError` if anything has that name.

    A plain rename would replace an empty folder or a link. Here the name is taken with `mkdir` first, which
    fails if it exists, and what the rename replaces is that empty folder or nothing at all.
    """
    if os.name == "nt":  # never replaces, and cannot replace an empty folder
        source.rename(target)
        return
    target.mkdir()
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        target.rmdir()
        raise


def check_folder(out: str | PathLike[str]) -> Path:
    """Returns `out` if a new folder can be put there."""
    path = Path(out)
    if os.path.lexists(path):
        raise BadRequest(f"{shown(path)}: exists")
    return _check_parent(path)


def check_png(out: str | PathLike[str]) -> Place:
    """Returns the place if a PNG file can be put there, over nothing but a picture of ours."""
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise BadRequest(f"{shown(path)}: the overlay is a picture; give a name that ends in .png")
    return check_place(path, (PNG_MARK,))


def check_place(out: str | PathLike[str], marks: Marks = ()) -> Place:
    """Returns the place if a file can be put there; an existing one must hold one of `marks`, if any are given."""
    with writing(Path(out)):
        path = _target(_check_parent(Path(out)))
        if path.is_dir():
            raise BadRequest(f"{shown(path)}: is a folder")
        if path.exists() and not path.is_file():
            raise BadRequest(f"{shown(path)}: is not a file")
        if path.exists() and marks and not _is_ours(_start(path), marks):
            raise BadRequest(f"{shown(path)}: exists and was not written by this command; choose another name")
        return Place(path, _identity(path))


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns an `OSError` of writing at a place into one line that says what is wrong there."""
    try:
        yield
    except OSError as error:
        raise BadRequest(f"{shown(place)}: cannot be written: {error.strerror or error}") from None


def _check_parent(path: Path) -> Path:
    if "\0" in str(path):
        raise BadRequest(f"{shown(path)}: cannot be a name, it holds a null byte")
    if not path.parent.is_dir():
        raise BadRequest(f"{shown(path)}: there is no folder {shown(path.parent)}")
    with writing(path), tempfile.TemporaryFile(dir=path.parent):  # the only sure way to know
        return path


def _target(path: Path) -> Path:
    """Where a link leads, so that it stays a link."""
    if path.is_symlink() and not path.exists():
        raise BadRequest(f"{shown(path)}: is a link to {shown(path.readlink())}, which does not exist")
    return path.resolve() if path.is_symlink() else path


def _is_ours(start: bytes, marks: Marks) -> bool:
    """An empty file, such as `mktemp` makes, has nothing to lose."""
    return not start or any(mark in start for mark in marks)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SEARCHED_BYTES)


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _save(write: Callable[[BinaryIO], object], place: Place) -> None:
    path = place.path
    with writing(path):
        handle, name = tempfile.mkstemp(prefix=".vlmprune-", suffix=".part", dir=path.parent)
        made = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            made.chmod(0o666 & ~_umask())
            _put(made, place)
        finally:
            made.unlink(missing_ok=True)


def _put(made: Path, place: Place) -> None:
    """Moves a finished file into place; what has appeared or changed there since the command began stays."""
    if _identity(place.path) == place.before:
        if place.before is not None:
            made.replace(place.path)
            return
        try:
            _move_file(made, place.path)
            return
        except FileExistsError:
            pass
    spare = _spare(place.path)
    _move_file(made, spare)
    raise BadRequest(
        f"{shown(place.path)}: was changed by someone else meanwhile and is left alone; see {shown(spare)}"
    )


def _move_file(source: Path, target: Path) -> None:
    """Gives a file a new name; raises `FileExistsError` if anything has that name."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links, such as FAT: the name is taken first, then replaced
        os.close(os.open(target, os.O_CREAT | os.O_EXCL))
        source.replace(target)


def _spare(path: Path) -> Path:
    """A free name beside a taken one."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, 10_000))
    return next(name for name in names if not os.path.lexists(name))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
