"""Reads values as arrays, from a package's weight file or from the program itself."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.mil_reference.program import Type, Value, WeightLocation
from vlmprune_runtime.mil_reference.readers import weight_reader

Array = npt.NDArray[Any]
_NAMES = {"float32": "float", "float16": "fp16"}  # of dtypes, where the reader has other names than MIL
_BITS = {"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6}


class WeightFiles:
    """Holds the weight files of one package, each mapped into memory when a value is first read from it."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder of the .mlmodel file, which "@model_path" stands for."""
        self._folder = folder
        self._readers: dict[str, Any] = {}

    def array(self, value: Value) -> Array:
        """Returns the value in its own dtype, types below a byte as int8 and uint8. Raises `ValueError`."""
        kind, stored = value.type, value.stored
        if isinstance(stored, str):
            return np.array(stored)
        if kind.shape is None:
            raise ValueError("a constant has no fixed shape")
        if isinstance(stored, WeightLocation):
            return _shaped(self._read(stored, kind.dtype), kind)
        if isinstance(stored, bytes):
            return _shaped(_from_bytes(stored, kind), kind)
        return stored.astype(kind.dtype).reshape(kind.shape)

    def _read(self, place: WeightLocation, dtype: str) -> Array:
        reader = self._reader(place.file)
        read = getattr(reader, f"read_{_NAMES.get(dtype, dtype)}_data", None)
        if read is None:
            raise ValueError(f"{place.file} cannot hold {dtype}")
        try:
            values: Array = read(place.offset)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ValueError(f"{place.file} has no {dtype} at offset {place.offset}: {error}") from None
        return values.view(np.float16) if dtype == "float16" else values

    def _reader(self, name: str) -> Any:
        if name not in self._readers:
            path = (self._folder / name.removeprefix("@model_path/")).resolve()
            if not path.is_relative_to(self._folder.resolve()):
                raise ValueError(f"{name} leads outside the package")
            if not path.is_file():
                raise ValueError(f"{name} is missing")
            self._readers[name] = weight_reader()(str(path))
        return self._readers[name]


def _from_bytes(raw: bytes, kind: Type) -> Array:
    data, bits = np.frombuffer(raw, np.uint8), _BITS.get(kind.dtype)
    if bits is None:
        return data.view(kind.dtype)
    return unpack_bits(data, bits, int(np.prod(kind.shape or ())), kind.dtype[0] == "i")


def _shaped(values: Array, kind: Type) -> Array:
    if values.size != int(np.prod(kind.shape or ())):
        raise ValueError(f"got {values.size} values of {kind.dtype}, expected a shape of {kind.shape}")
    return values.reshape(kind.shape or ())


def unpack_bits(raw: npt.NDArray[np.uint8], bits: int, count: int, signed: bool) -> Array:
    """Returns `count` integers of `bits` bits, lowest bit first.

    >>> unpack_bits(np.array([0xF2], np.uint8), 4, 2, signed=True).tolist()
    [2, -1]
    """
    stream = np.unpackbits(raw, bitorder="little")[: bits * count].reshape(-1, bits)
    values = np.packbits(stream, axis=1, bitorder="little")[:, 0]
    if not signed:
        return values
    return (values ^ (1 << (bits - 1))).astype(np.int8) - np.int8(1 << (bits - 1))
