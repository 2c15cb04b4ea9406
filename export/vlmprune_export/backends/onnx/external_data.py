"""Writes weights that two graphs share once; both refer to them as external data."""

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
