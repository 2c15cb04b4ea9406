"""Writes a file or a folder whole or not at all, and never over a file that vlmprune has not written itself."""

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

from vlmprune_runtime.errors import BadRequest, short_repr

MARK = "vlmprune"
PNG_MARK = b"Software\0" + MARK.encode()
SEARCHED_BYTES = 4096  # the part of a file, from its start, in which a mark is searched
Marks = tuple[bytes, ...]


@dataclass(frozen=True)
class OutputFile:
    """Holds the path of a file to write, and the identity of the file that was there when the command began."""

    path: Path
    before: tuple[int, ...] | None


def save_png(image: Image.Image, out: str | PathLike[str] | OutputFile) -> None:
    """Writes the image to `out`. Only an image by vlmprune is replaced, and only by an image written in full."""
    info = PngInfo()
    info.add_text("Software", MARK)
    place = out if isinstance(out, OutputFile) else check_output_png(out)
    _save(lambda file: image.save(file, "PNG", pnginfo=info), place)


def save_text(text: str, out: str | PathLike[str] | OutputFile, marks: Marks = ()) -> None:
    """Writes the text to `out` in UTF-8; an existing file stays until the new file is written in full.

    An existing file is replaced only if its first 4096 bytes hold one of `marks`; without marks any file is replaced.
    """
    place = out if isinstance(out, OutputFile) else check_output_file(out, marks)
    _save(lambda file: file.write(text.encode()), place)


def save_folder(files: Mapping[str, bytes], out: str | PathLike[str]) -> None:
    """Creates a new folder `out` with these files. Raises `BadRequest` if it exists or cannot be written."""
    path = check_output_folder(out)
    with writing(path), tempfile.TemporaryDirectory(prefix=".vlmprune-", dir=path.parent) as scratch:
        finished = Path(scratch) / "folder"
        finished.mkdir()
        for name, content in files.items():
            (finished / name).write_bytes(content)
        try:
            move_folder(finished, path)
        except FileExistsError:
            raise BadRequest(f"{short_repr(path)}: exists") from None


def move_folder(source: Path, target: Path) -> None:
    """Renames a folder to a new name on the same disk. Raises `FileExistsError` if the name is in use.

    A plain rename would replace an empty folder or a link. Here `mkdir` takes the name first and fails if it is in
    use, so the rename replaces only that new, empty folder.
    """
    if os.name == "nt":  # there a rename never replaces anything, not even an empty folder
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


def check_output_folder(out: str | PathLike[str]) -> Path:
    """Returns the path `out`. Raises `BadRequest` unless a new folder can be put there."""
    path = Path(out)
    if os.path.lexists(path):
        raise BadRequest(f"{short_repr(path)}: exists")
    return _check_parent(path)


def check_output_png(out: str | PathLike[str]) -> OutputFile:
    """Returns the place of a PNG file. Raises `BadRequest` if it cannot be written or a foreign file is there."""
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise BadRequest(f"{short_repr(path)}: the overlay is an image; give a name that ends in .png")
    return check_output_file(path, (PNG_MARK,))


def check_output_file(out: str | PathLike[str], marks: Marks = ()) -> OutputFile:
    """Returns the place of a file. Raises `BadRequest` if it cannot be written, or a file there holds none of `marks`.

    Without marks any existing file may be replaced.
    """
    with writing(Path(out)):
        path = _target(_check_parent(Path(out)))
        if path.is_dir():
            raise BadRequest(f"{short_repr(path)}: is a folder")
        if path.exists() and not path.is_file():
            raise BadRequest(f"{short_repr(path)}: is not a file")
        if path.exists() and marks and not _is_ours(_start(path), marks):
            raise BadRequest(f"{short_repr(path)}: exists and was not written by this command; choose another name")
        return OutputFile(path, _identity(path))


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns an `OSError` of the block into a `BadRequest` that names the place and the cause in one line."""
    try:
        yield
    except OSError as error:
        raise BadRequest(f"{short_repr(place)}: cannot be written: {error.strerror or error}") from None


def _check_parent(path: Path) -> Path:
    if "\0" in str(path):
        raise BadRequest(f"{short_repr(path)}: cannot be a name, it holds a null byte")
    if not path.parent.is_dir():
        raise BadRequest(f"{short_repr(path)}: there is no folder {short_repr(path.parent)}")
    with writing(path), tempfile.TemporaryFile(dir=path.parent):  # only writing shows whether a folder can be written
        return path


def _target(path: Path) -> Path:
    """Returns the file that a link leads to, so that writing leaves the link in place."""
    if path.is_symlink() and not path.exists():
        raise BadRequest(f"{short_repr(path)}: is a link to {short_repr(path.readlink())}, which does not exist")
    return path.resolve() if path.is_symlink() else path


def _is_ours(start: bytes, marks: Marks) -> bool:
    """Says whether a file may be replaced: it holds a mark, or it is empty, as `mktemp` leaves it."""
    return not start or any(mark in start for mark in marks)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SEARCHED_BYTES)


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _save(write: Callable[[BinaryIO], object], place: OutputFile) -> None:
    path = place.path
    with writing(path):
        handle, name = tempfile.mkstemp(prefix=".vlmprune-", suffix=".part", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            temporary.chmod(0o666 & ~_umask())
            _move_into_place(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)


def _move_into_place(written: Path, place: OutputFile) -> None:
    """Moves a written file into place; a file that appeared or changed there since the command began stays."""
    if _identity(place.path) == place.before:
        if place.before is not None:
            written.replace(place.path)
            return
        try:
            _move_file(written, place.path)
            return
        except FileExistsError:
            pass
    spare = _spare(place.path)
    _move_file(written, spare)
    raise BadRequest(
        f"{short_repr(place.path)}: was changed by someone else meanwhile and is left alone; see {short_repr(spare)}"
    )


def _move_file(source: Path, target: Path) -> None:
    """Gives a file a new name. Raises `FileExistsError` if the name is in use."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:  # disks such as FAT have no hard links, so an empty file takes the name and is replaced
        os.close(os.open(target, os.O_CREAT | os.O_EXCL))
        source.replace(target)


def _spare(path: Path) -> Path:
    """Returns a free name beside a name in use."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, 10_000))
    return next(name for name in names if not os.path.lexists(name))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
