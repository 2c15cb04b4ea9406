"""Values out of a package's weight file, and literal ones, as arrays.

The file: 64-byte records (magic, dtype, size, offset) that the program points at, each with its data elsewhere;
types below a byte are a stream of bits, lowest first (coremltools, mlmodel/src/MILBlob/Blob/StorageFormat.hpp).
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.engines.mil.program import Blob, Type, Value

Array = npt.NDArray[Any]
_RECORD = struct.Struct("<IIQQ")
_MAGIC = 0xDEADBEEF
_STORED = {
    1: "float16", 2: "float32", 3: "uint8", 4: "int8", 6: "int16", 7: "uint16", 8: "int4", 9: "uint1", 10: "uint2",
    11: "uint4", 12: "uint3", 13: "uint6", 14: "int32", 15: "uint32",
}  # fmt: skip


class Blobs:
    """The weight files of one package, mapped, not read."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where "@model_path" stands for: the folder of the .mlmodel file."""
        self._folder = folder
        self._maps: dict[str, npt.NDArray[np.uint8]] = {}

    def array(self, value: Value) -> Array:
        """The value in its own dtype (types below a byte as int8 and uint8); `ValueError` if it is not there."""
        kind, stored = value.type, value.stored
        if isinstance(stored, str):
            return np.array(stored)
        if kind.shape is None:
            raise ValueError("a constant without a fixed shape")
        if isinstance(stored, Blob):
            return _shaped(self._bytes(stored, kind.dtype), kind)
        if isinstance(stored, bytes):
            return _shaped(np.frombuffer(stored, np.uint8), kind)
        return stored.astype(kind.dtype).reshape(kind.shape)

    def _bytes(self, blob: Blob, dtype: str) -> npt.NDArray[np.uint8]:
        data = self._map(blob.file)
        if blob.offset + _RECORD.size > len(data):
            raise ValueError(f"{blob.file} ends before offset {blob.offset}")
        magic, stored, size, start = _RECORD.unpack(data[blob.offset : blob.offset + _RECORD.size].tobytes())
        if magic != _MAGIC:
            raise ValueError(f"{blob.file} has no weight at offset {blob.offset}")
        if _STORED.get(stored) != dtype:
            raise ValueError(f"weight at {blob.offset} is {_STORED.get(stored, stored)}, the program says {dtype}")
        if start + size > len(data):
            raise ValueError(f"{blob.file} ends inside the weight at offset {blob.offset}")
        return data[start : start + size]

    def _map(self, name: str) -> npt.NDArray[np.uint8]:
        if name not in self._maps:
            path = (self._folder / name.removeprefix("@model_path/")).resolve()
            if not path.is_relative_to(self._folder.resolve()):
                raise ValueError(f"{name} leads outside the package")
            if not path.is_file():
                raise ValueError(f"{name} is missing")
            self._maps[name] = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        return self._maps[name]


def _shaped(raw: npt.NDArray[np.uint8], kind: Type) -> Array:
    shape, bits = kind.shape or (), _sub_byte_bits(kind.dtype)
    count = int(np.prod(shape))
    found = unpack_bits(raw, bits, count, kind.dtype[0] == "i") if bits else raw.view(kind.dtype)
    if len(found) != count:
        raise ValueError(f"got {len(found)} values of {kind.dtype}, expected {count}")
    return found.reshape(shape)


def _sub_byte_bits(dtype: str) -> int:
    """Bits of a type below a byte, 0 for any other.

    >>> [_sub_byte_bits(name) for name in ("int4", "uint3", "int8", "float32")]
    [4, 3, 0, 0]
    """
    return {"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6}.get(dtype, 0)


def unpack_bits(raw: npt.NDArray[np.uint8], bits: int, count: int, signed: bool) -> Array:
    """`count` integers of `bits` bits, lowest bit first.

    >>> unpack_bits(np.array([0xF2], np.uint8), 4, 2, signed=True).tolist()
    [2, -1]
    """
    stream = np.unpackbits(raw, bitorder="little")[: bits * count].reshape(-1, bits)
    found = np.packbits(stream, axis=1, bitorder="little")[:, 0]
    if not signed:
        return found
    return (found ^ (1 << (bits - 1))).astype(np.int8) - np.int8(1 << (bits - 1))
