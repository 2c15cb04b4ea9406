"""Writes weights that two graphs share once; both refer to them as external data."""

import hashlib
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

_PAGE_BYTES = 4096  # ONNX Runtime maps external data instead of copying it when it starts on a page


@dataclass(frozen=True)
class TensorLocation:
    """Where an array lies: file, offset and length in bytes, shape and ONNX element type."""

    file: str
    offset_bytes: int
    length_bytes: int
    shape: tuple[int, ...]
    element_type: int

    def initializer(self, name: str) -> TensorProto:
        """Returns an initializer of that name that refers to this location."""
        tensor = TensorProto(name=name, data_type=self.element_type, dims=self.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", self.file),
            ("offset", self.offset_bytes),
            ("length", self.length_bytes),
        ):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def append_array(path: Path, array: NDArray[Any]) -> TensorLocation:
    """Writes an array at the next page of a data file, which is created if it is missing."""
    with path.open("ab") as file:
        offset = -(-file.tell() // _PAGE_BYTES) * _PAGE_BYTES
        file.write(b"\0" * (offset - file.tell()))
        file.write(np.ascontiguousarray(array).data)
    element_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    return TensorLocation(path.name, offset, array.nbytes, array.shape, element_type)


def per_row_int8(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Returns 8-bit rows and their scales, (V, D) -> (V, D), (V, 1); a row is scale * int8, symmetric around 0.

    >>> q, scale = per_row_int8(np.array([[1.0, -2.0]], np.float32))
    >>> q.tolist()
    [[64, -127]]
    """
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), np.float32(1e-12)) / np.float32(127)
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


def save_with_initializers(model: onnx.ModelProto, path: Path, stored: dict[str, TensorLocation]) -> None:
    """Saves a graph whose inputs named in `stored` become initializers stored elsewhere."""
    graph = model.graph
    inputs = [value for value in graph.input if value.name not in stored]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(place.initializer(name) for name, place in stored.items())
    path.write_bytes(model.SerializeToString())


def share_weights(first: Path, other: Path) -> None:
    """Lets a saved graph read every weight that the first one has, too, from the first one's data file.

    What is left of its own data file holds the others.
    """
    data, model = other.with_name(f"{other.name}.data"), onnx.load(str(other), load_external_data=False)
    if not data.exists() or not first.with_name(f"{first.name}.data").exists():
        return
    stored, left = _stored(first), data.with_name(f"left-{data.name}")
    with _bytes_of(data) as values:
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                file, offset = stored.get(_digest(tensor, values)) or _append(left, tensor, values)
                place = TensorLocation(file, offset, _range(tensor)[1], tuple(tensor.dims), tensor.data_type)
                tensor.CopyFrom(place.initializer(tensor.name))
    data.unlink()
    if left.exists():
        left.rename(data)
    other.write_bytes(model.SerializeToString())


def _stored(path: Path) -> dict[str, tuple[str, int]]:
    """Returns the file and the offset of each of a graph's weights by its digest."""
    found, data = {}, path.with_name(f"{path.name}.data")
    with _bytes_of(data) as values:
        for tensor in onnx.load(str(path), load_external_data=False).graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                found[_digest(tensor, values)] = data.name, _range(tensor)[0]
    return found


def _append(path: Path, tensor: TensorProto, values: mmap.mmap) -> tuple[str, int]:
    offset, length = _range(tensor)
    place = append_array(path, np.frombuffer(values[offset : offset + length], dtype=np.uint8))
    return path.name.removeprefix("left-"), place.offset_bytes


def _digest(tensor: TensorProto, values: mmap.mmap) -> str:
    offset, length = _range(tensor)
    kind = f"{tensor.data_type} {tuple(tensor.dims)} ".encode()
    return hashlib.sha256(kind + values[offset : offset + length]).hexdigest()


def _range(tensor: TensorProto) -> tuple[int, int]:  # -> offset, length
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return int(entries.get("offset", 0)), int(entries["length"])


@contextmanager
def _bytes_of(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as values:
        yield values
