"""The MIL program of a saved model as plain records, read without the library that wrote it.

Field numbers are those of MIL.proto and Model.proto (github.com/apple/coremltools, mlmodel/format).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.engines.mil.wire import (
    Message,
    child,
    entries,
    floats,
    integer,
    message,
    messages,
    text,
    varints,
    view,
)

DTYPES = {
    1: "bool", 2: "string", 10: "float16", 11: "float32", 12: "float64", 21: "int8", 22: "int16", 23: "int32",
    24: "int64", 25: "int4", 31: "uint8", 32: "uint16", 33: "uint32", 34: "uint64", 35: "uint4", 36: "uint2",
    37: "uint1", 38: "uint6", 39: "uint3",
}  # fmt: skip


@dataclass(frozen=True)
class Type:
    """A tensor's dtype and shape (None where it is not fixed), and whether it is a state."""

    dtype: str
    shape: tuple[int, ...] | None
    state: bool = False


@dataclass(frozen=True)
class Blob:
    """Where a large value lies in the package's weight file."""

    file: str
    offset: int


@dataclass(frozen=True)
class Value:
    """A constant: its bytes or numbers (a string for text), or where they are."""

    type: Type
    stored: npt.NDArray[Any] | bytes | str | Blob


@dataclass(frozen=True)
class Operation:
    """One step; an argument is a list of names of earlier results or of literal values."""

    type: str
    inputs: dict[str, tuple["str | Value", ...]]
    outputs: tuple[tuple[str, Type], ...]
    blocks: tuple["Block", ...]
    attributes: dict[str, Value]


@dataclass(frozen=True)
class Block:
    """Steps with their own inputs, and the names of the results."""

    inputs: tuple[tuple[str, Type], ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Model:
    """The format's version and the functions by name; a function's states are among its inputs."""

    specification: int
    functions: dict[str, Block]


def computes_half(model: Model) -> bool:
    """Whether products are computed in float16; states and stored weights do not count."""
    products = {"linear", "matmul", "conv"}
    blocks = model.functions.values()
    kinds = (kind for block in blocks for one in block.operations if one.type in products for _, kind in one.outputs)
    return any(kind.dtype == "float16" for kind in kinds)


def parse_model(data: bytes) -> Model:
    """The model in the bytes of a .mlmodel file; `ValueError` for bytes that are none or no ML program."""
    root = message(memoryview(data))
    program = child(root, 502)
    if not program:
        raise ValueError("holds no ML program")
    return Model(integer(root, 1), {name: _function(spec) for name, spec in entries(program, 2)})


def _function(spec: Message) -> Block:
    opset = text(spec, 2)
    blocks = dict(entries(spec, 3))
    if opset not in blocks:
        raise ValueError(f"has no block for the opset {opset!r}")
    inner = _block(blocks[opset])
    return Block(_named_types(spec, 1), inner.outputs, inner.operations)


def _block(spec: Message) -> Block:
    outputs = tuple(bytes(view(name)).decode() for name in spec.get(2, []))
    return Block(_named_types(spec, 1), outputs, tuple(_operation(one) for one in messages(spec, 3)))


def _operation(spec: Message) -> Operation:
    return Operation(
        text(spec, 1),
        {name: tuple(_binding(one) for one in messages(argument, 1)) for name, argument in entries(spec, 2)},
        _named_types(spec, 3),
        tuple(_block(one) for one in messages(spec, 4)),
        {name: _value(one) for name, one in entries(spec, 5)},
    )


def _binding(spec: Message) -> str | Value:
    return text(spec, 1) if 1 in spec else _value(child(spec, 2))


def _named_types(spec: Message, number: int) -> tuple[tuple[str, Type], ...]:
    return tuple((text(one, 1), _type(child(one, 2))) for one in messages(spec, number))


def _type(spec: Message) -> Type:
    if 5 in spec:
        inner = _type(child(child(spec, 5), 1))
        return Type(inner.dtype, inner.shape, state=True)
    if 1 not in spec:
        return Type("other", None)
    tensor = child(spec, 1)
    number = integer(tensor, 1)
    sizes = [child(dimension, 1) for dimension in messages(tensor, 3)]
    fixed = all(1 in dimension for dimension in messages(tensor, 3))
    return Type(DTYPES.get(number, f"type {number}"), tuple(integer(size, 1) for size in sizes) if fixed else None)


def _value(spec: Message) -> Value:
    kind = _type(child(spec, 2))
    if 5 in spec:
        blob = child(spec, 5)
        return Value(kind, Blob(text(blob, 1), integer(blob, 2)))
    return Value(kind, _immediate(child(child(spec, 3), 1)))


def _immediate(tensor: Message) -> npt.NDArray[Any] | bytes | str:
    if 7 in tensor:
        return bytes(view(child(tensor, 7).get(1, [memoryview(b"")])[-1]))
    if 4 in tensor:
        return text(child(tensor, 4), 1)
    if 1 in tensor:
        return np.array(floats(child(tensor, 1), 1, "f"), np.float32)
    if 6 in tensor:
        return np.array(floats(child(tensor, 6), 1, "d"), np.float64)
    if 3 in tensor:
        return np.array(varints(child(tensor, 3), 1), bool)
    number = 2 if 2 in tensor else 5 if 5 in tensor else 0
    return np.array(varints(child(tensor, number), 1), np.uint64).astype(np.int64)
