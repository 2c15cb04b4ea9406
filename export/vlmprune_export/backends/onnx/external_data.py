"""Writes weights that two graphs share once; both refer to them as external data."""

import hashlib
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper

Weights = Mapping[str, ir.TensorProtocol]

_INLINE_BYTES = 1024  # smaller initializers stay in the graph
_ROWS = 1024  # that are quantised at once
_LARGE_BYTES, _SMALL_ALIGNMENT = 1 << 16, 64
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
    """Writes an array behind the others of a data file, a large one from the next page on; creates a missing file."""
    alignment = _PAGE_BYTES if array.nbytes >= _LARGE_BYTES else _SMALL_ALIGNMENT
    with path.open("ab") as file:
        offset = -(-file.tell() // alignment) * alignment
        file.write(b"\0" * (offset - file.tell()))
        file.write(np.ascontiguousarray(array).data)
    element_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    return TensorLocation(path.name, offset, array.nbytes, array.shape, element_type)


def take_weights(model: ir.Model) -> Weights:
    """Returns the values of the larger initializers by name, and leaves the graph with their shapes alone."""
    taken: dict[str, ir.TensorProtocol] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and (tensor.nbytes > _INLINE_BYTES or len(tensor.shape) > 1):
            taken[name] = tensor
            value.const_value = ir.ExternalTensor(
                "taken", None, None, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
            )
    return taken


def per_row_int8(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Returns 8-bit rows and their scales, (V, D) -> (V, D), (V, 1); a row is scale * int8, symmetric around 0.

    >>> q, scale = per_row_int8(np.array([[1.0, -2.0]], np.float32))
    >>> q.tolist()
    [[64, -127]]
    """
    largest = np.maximum(weight.max(axis=1, keepdims=True), -weight.min(axis=1, keepdims=True))
    scale = np.maximum(largest, np.float32(1e-12)) / np.float32(127)
    return to_int8(weight, scale), scale.astype(np.float32)


def to_int8(weight: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.int8]:
    """Returns weight / scale rounded, some rows at a time, since a vocabulary's table is the largest weight of all."""
    quantised = np.empty(weight.shape, np.int8)
    scales = np.broadcast_to(scale, (len(weight), scale.shape[1]))
    for start in range(0, len(weight), _ROWS):
        part = slice(start, start + _ROWS)
        quantised[part] = np.rint(weight[part] / scales[part])
    return quantised


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
