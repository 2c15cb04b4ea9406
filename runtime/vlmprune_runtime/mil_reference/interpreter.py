"""Runs prepared operations in numpy, rounding every result to its dtype.

Emulated: each operation's result rounded to the dtype that the program declares (float16 included), integer widths,
states that live from call to call, loops and branches. Not emulated: float16 sums inside an operation (sums are
float32), the inside of fused operations (`scaled_dot_product_attention`, `layer_norm`, `softmax`, `gelu` round their
result only), what a compiler fuses or reorders, flush-to-zero, and what Core ML leaves undefined.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.mil_reference.ops import MOVES, STATE, TABLE
from vlmprune_runtime.mil_reference.prepared import PreparedBlock, PreparedOperation, ResultName
from vlmprune_runtime.mil_reference.program import Type

Array = npt.NDArray[Any]
States = dict[str, Array]


@dataclass
class Frame:
    """Holds the results of one call so far, and the states of the package."""

    values: dict[str, Array]
    states: States


class OperationFailed(Exception):
    """An operation cannot be computed; the message names the operation."""


def run_block(block: PreparedBlock, frame: Frame) -> list[Array]:
    """Runs a block and returns its results; the caller has put its inputs into the frame."""
    for operation in block.operations:
        try:
            for (name, kind), value in zip(operation.outputs, _run(operation, frame), strict=True):
                frame.values[name] = rounded(value, kind, exact=operation.type in MOVES)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError) as error:
            where = f" {operation.outputs[0][0]!r}" if operation.outputs else ""
            raise OperationFailed(f"{operation.type}{where}: {error}") from None
        for name in operation.frees:
            frame.values.pop(name, None)
    return [_value(result, frame) for result in block.results]


def rounded(value: Any, kind: Type, *, exact: bool = False) -> Array:
    """Returns the value in the dtype, float16 as float32; `exact` says that it holds values of that dtype already.

    >>> rounded(np.float32(2049), Type("float16", ())).tolist()
    2048.0
    """
    array = np.asarray(value)
    if kind.shape is not None and array.shape != kind.shape:
        raise ValueError(f"result has shape {array.shape}, the program says {kind.shape}")
    if kind.dtype == "float16":
        return array if exact else array.astype(np.float16).astype(np.float32)
    return array if array.dtype == kind.dtype else array.astype(kind.dtype)


def _run(operation: PreparedOperation, frame: Frame) -> tuple[Any, ...]:
    if operation.type in STATE:
        return _state(operation, frame)
    arguments = {name: _argument(one, frame) for name, one in operation.arguments}
    if operation.type == "cond":
        return tuple(run_block(operation.blocks[0 if arguments["pred"] else 1], frame))
    if operation.type == "while_loop":
        return _loop(operation, arguments["loop_vars"], frame)
    result = TABLE[operation.type](**arguments)
    return result if isinstance(result, tuple) else (result,)


def _argument(argument: Any, frame: Frame) -> Any:
    return tuple(_value(one, frame) for one in argument) if isinstance(argument, tuple) else _value(argument, frame)


def _value(argument: Any, frame: Frame) -> Array:
    value: Array = frame.values[argument.name] if isinstance(argument, ResultName) else argument
    return value


def _state(operation: PreparedOperation, frame: Frame) -> tuple[Array, ...]:
    arguments = dict(operation.arguments)
    name, written = arguments.pop(STATE[operation.type]).name, tuple(arguments.values())
    if name not in frame.states:
        raise KeyError(f"no state {name}")
    if written:
        value = _value(written[0], frame)
        if value.shape != frame.states[name].shape:
            raise ValueError(f"state {name} has shape {frame.states[name].shape}, got {value.shape}")
        frame.states[name] = value
    return (frame.states[name],) if operation.outputs else ()


def _loop(operation: PreparedOperation, start: tuple[Array, ...], frame: Frame) -> tuple[Array, ...]:
    condition, body = operation.blocks
    values = list(start)
    while True:
        _bind(condition, values, frame)
        if not bool(run_block(condition, frame)[0]):
            return tuple(values)
        _bind(body, values, frame)
        values = run_block(body, frame)


def _bind(block: PreparedBlock, values: list[Array], frame: Frame) -> None:
    for (name, _), value in zip(block.inputs, values, strict=True):
        frame.values[name] = value
