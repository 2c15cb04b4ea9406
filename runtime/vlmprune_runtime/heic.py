"""Reads HEIC, the format of iPhone photographs, if `pillow-heif` is installed."""

from os import PathLike
from pathlib import Path
from typing import BinaryIO

from vlmprune_runtime.errors import BadRequest, MissingExtra

BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
HEADER_BYTES = 12


def is_heic(source: str | PathLike[str] | BinaryIO) -> bool:
    """Says whether a file or an open file has the header of HEIC; an open file is left at its start."""
    header = _header(source)
    return header[4:8] == b"ftyp" and header[8:12] in BRANDS


def register_heic() -> None:
    """Registers HEIC with Pillow. Raises `BadRequest` that names the extra if it is not installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise BadRequest(f"a HEIC image: {MissingExtra('pillow-heif', 'heic')}") from None
    register_heif_opener()


def _header(source: str | PathLike[str] | BinaryIO) -> bytes:
    if isinstance(source, str | PathLike):
        with Path(source).open("rb") as file:
            return file.read(HEADER_BYTES)
    source.seek(0)
    header = source.read(HEADER_BYTES)
    source.seek(0)
    return header
