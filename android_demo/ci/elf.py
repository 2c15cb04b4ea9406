"""Reads of a 64-bit shared library what an APK has to agree with."""

import struct
from dataclasses import dataclass

LOAD, DYNAMIC = 1, 2
NEEDED, STRINGS = 1, 5


@dataclass(frozen=True)
class SharedLibrary:
    """The machine, the libraries that it needs, and the least alignment in bytes of what is loaded."""

    machine: int
    needed: list[str]
    alignment: int


@dataclass(frozen=True)
class Segment:
    """A program header: type, offset in the file, address, size in the file, alignment."""

    kind: int
    offset: int
    address: int
    size: int
    alignment: int


def read_library(data: bytes) -> SharedLibrary:
    """Returns what a little-endian ELF file says. Raises ValueError for another file."""
    if data[:5] != b"\x7fELF\x02":
        raise ValueError("is not a 64-bit ELF file")
    (machine,) = struct.unpack_from("<H", data, 18)
    segments = program_headers(data)
    loaded = [s for s in segments if s.kind == LOAD]
    return SharedLibrary(machine, needed(data, segments, loaded), min(s.alignment for s in loaded))


def program_headers(data: bytes) -> list[Segment]:
    """Returns the program headers of a 64-bit ELF file."""
    (start,) = struct.unpack_from("<Q", data, 32)
    entry_bytes, count = struct.unpack_from("<HH", data, 54)
    rows = [struct.unpack_from("<IIQQQQQQ", data, start + nth * entry_bytes) for nth in range(count)]
    return [Segment(kind, offset, address, size, align) for kind, _, offset, address, _, size, _, align in rows]


def needed(data: bytes, segments: list[Segment], loaded: list[Segment]) -> list[str]:
    """Returns the names of the libraries that an ELF file needs."""
    (dynamic,) = [s for s in segments if s.kind == DYNAMIC]
    tags = list(struct.iter_unpack("<qQ", data[dynamic.offset : dynamic.offset + dynamic.size]))
    address = next(value for tag, value in tags if tag == STRINGS)
    strings = next(s.offset + address - s.address for s in loaded if s.address <= address < s.address + s.size)
    return [text_at(data, strings + value) for tag, value in tags if tag == NEEDED]


def text_at(data: bytes, offset: int) -> str:
    """Returns the text at an offset, which ends at the next zero byte."""
    return data[offset : data.index(b"\0", offset)].decode()
