"""Reads the MIL program of a saved model into plain records, from coremltools' messages (MIL.proto, Model.proto)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.mil_reference.readers import model_messages, type_messages

Message = Any  # a protobuf message; coremltools has no types


@dataclass(frozen=True)
class Type:
    """Holds a tensor's dtype and shape (None if it is not fixed), and whether it is a state."""

    dtype: str
    shape: tuple[int, ...] | None
    state: bool = False


@dataclass(frozen=True)
class WeightLocation:
    """Says where a large value lies in the package's weight file."""

    file: str
    offset: int


@dataclass(frozen=True)
class Value:
    """Holds a constant: its bytes or numbers (a string for text), or their location."""

    type: Type
    stored: npt.NDArray[Any] | bytes | str | WeightLocation


@dataclass(frozen=True)
class Operation:
    """Holds one operation; an argument is a list of names of earlier results or of literal values."""

    type: str
    inputs: dict[str, tuple["str | Value", ...]]
    outputs: tuple[tuple[str, Type], ...]
    blocks: tuple["Block", ...]
    attributes: dict[str, Value]


@dataclass(frozen=True)
class Block:
    """Holds operations with the inputs of their block, and the names of its results."""

    inputs: tuple[tuple[str, Type], ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]


@dataclass(frozen=True)
class Model:
    """Holds the format's version and the functions by name; a function's states are among its inputs."""

    specification: int
    functions: dict[str, Block]


def computes_half(model: Model) -> bool:
    """Says whether products are computed in float16; states and stored weights do not count."""
    products = {"linear", "matmul", "conv"}
    operations = (one for block in model.functions.values() for one in block.operations if one.type in products)
    return any(kind.dtype == "float16" for one in operations for _, kind in one.outputs)


def parse_model(data: bytes) -> Model:
    """Returns the model in the bytes of a .mlmodel file.

    Raises `ValueError` for bytes that are no model or no ML program, `MissingExtra` if coremltools is not installed.
    """
    from google.protobuf.message import DecodeError  # comes with coremltools

    model = model_messages().Model()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    if not model.HasField("mlProgram"):
        raise ValueError("holds no ML program")
    functions = {name: _function(message) for name, message in sorted(model.mlProgram.functions.items())}
    return Model(model.specificationVersion, functions)


def _function(message: Message) -> Block:
    if message.opset not in message.block_specializations:
        raise ValueError(f"has no block for the opset {message.opset!r}")
    body = _block(message.block_specializations[message.opset])
    return Block(_named_types(message.inputs), body.outputs, body.operations)


def _block(message: Message) -> Block:
    return Block(_named_types(message.inputs), tuple(message.outputs), tuple(map(_operation, message.operations)))


def _operation(message: Message) -> Operation:
    return Operation(
        message.type,
        {name: tuple(map(_binding, argument.arguments)) for name, argument in message.inputs.items()},
        _named_types(message.outputs),
        tuple(map(_block, message.blocks)),
        {name: _value(value) for name, value in message.attributes.items()},
    )


def _binding(message: Message) -> str | Value:
    return str(message.name) if message.WhichOneof("binding") == "name" else _value(message.value)


def _named_types(messages: Iterable[Message]) -> tuple[tuple[str, Type], ...]:
    return tuple((one.name, _type(one.type)) for one in messages)


def _type(message: Message) -> Type:
    kind = message.WhichOneof("type")
    if kind == "stateType":
        inner = _type(message.stateType.wrappedType)
        return Type(inner.dtype, inner.shape, state=True)
    if kind != "tensorType":
        return Type("other", None)
    tensor = message.tensorType
    fixed = all(size.WhichOneof("dimension") == "constant" for size in tensor.dimensions)
    return Type(_dtype(tensor.dataType), tuple(size.constant.size for size in tensor.dimensions) if fixed else None)


def _dtype(number: int) -> str:
    names = type_messages().DataType
    return str(names.Name(number)).lower() if number in names.values() else f"type {number}"


def _value(message: Message) -> Value:
    kind = _type(message.type)
    if message.WhichOneof("value") == "blobFileValue":
        return Value(kind, WeightLocation(message.blobFileValue.fileName, message.blobFileValue.offset))
    return Value(kind, _literal(message.immediateValue.tensor))


def _literal(message: Message) -> npt.NDArray[Any] | bytes | str:
    kind = message.WhichOneof("value")
    if kind is None:
        return np.zeros(0, np.int64)
    values = getattr(message, kind).values
    if kind == "bytes":
        return bytes(values)
    if kind == "strings":
        return str(values[0]) if values else ""
    dtypes = {"floats": np.float32, "doubles": np.float64, "bools": bool}
    return np.array(values, dtypes.get(kind, np.int64))
