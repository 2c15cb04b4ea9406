"""Prepares a block of a program: it resolves constants, looks operations up, and finds the lifetimes of results."""

import inspect
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from vlmprune_runtime.mil_reference.constants import Compressed, Constants, Source
from vlmprune_runtime.mil_reference.ops import KNOWN, TABLE
from vlmprune_runtime.mil_reference.program import Block, Operation, Type, Value

# The arguments that are lists of tensors; every other argument is one tensor.
LISTS = {("concat", "values"), ("stack", "values"), ("einsum", "values"), ("while_loop", "loop_vars")}
Argument = Any  # an array, a `ResultName`, or a tuple of them


@dataclass(frozen=True)
class ResultName:
    """Names the result of an earlier operation."""

    name: str


@dataclass(frozen=True)
class PreparedOperation:
    """Holds one operation with its arguments; `frees` are results that no later operation reads."""

    type: str
    arguments: tuple[tuple[str, Argument], ...]
    outputs: tuple[tuple[str, Type], ...]
    blocks: tuple["PreparedBlock", ...] = ()
    frees: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedBlock:
    """Holds a block's inputs, its operations in order, and its results."""

    inputs: tuple[tuple[str, Type], ...]
    operations: tuple[PreparedOperation, ...]
    results: tuple[Argument, ...]


def unknown_operations(block: Block) -> Iterator[str]:
    """Yields the types of operations that the reference does not implement, in the block and its nested blocks."""
    for operation in block.operations:
        if operation.type not in KNOWN:
            yield operation.type
        elif operation.type in TABLE:
            takes = inspect.signature(TABLE[operation.type]).parameters
            yield from (f"{operation.type}({name}=)" for name in operation.inputs if name not in takes)
        for inner in operation.blocks:
            yield from unknown_operations(inner)


def prepare(
    block: Block, constants: Constants, outer: MutableMapping[str, Source] | None = None, *, free: bool = True
) -> PreparedBlock:
    """Returns the prepared block. Only the outermost block frees results, because an inner block runs many times."""
    known: MutableMapping[str, Source] = ChainMap({}, {} if outer is None else outer)
    operations = []
    for operation in block.operations:
        if operation.type == "const":
            known[operation.outputs[0][0]] = operation.attributes["val"]
        elif operation.type.startswith("constexpr_"):
            known[operation.outputs[0][0]] = _compressed(operation, known)
        else:
            operations.append(_prepared(operation, known, constants))
    results = tuple(_resolved(name, known, constants) for name in block.outputs)
    return PreparedBlock(block.inputs, tuple(_with_frees(operations, results) if free else operations), results)


def _compressed(operation: Operation, known: Mapping[str, Source]) -> Compressed:
    bound = {name: binding[0] for name, binding in operation.inputs.items()} | operation.attributes
    bound.pop("name", None)
    return Compressed(operation.type, {name: _source(one, known) for name, one in bound.items()})


def _source(binding: str | Value, known: Mapping[str, Source]) -> Source:
    if isinstance(binding, Value):
        return binding
    if binding not in known:
        raise ValueError(f"{binding} is read as a constant, but is none")
    return known[binding]


def _prepared(operation: Operation, known: MutableMapping[str, Source], constants: Constants) -> PreparedOperation:
    arguments = []
    for name, bindings in operation.inputs.items():
        values = tuple(_resolved(one, known, constants) for one in bindings)
        arguments.append((name, values if (operation.type, name) in LISTS else values[0]))
    blocks = tuple(prepare(inner, constants, known, free=False) for inner in operation.blocks)
    return PreparedOperation(operation.type, tuple(arguments), operation.outputs, blocks)


def _resolved(binding: str | Value, known: Mapping[str, Source], constants: Constants) -> Argument:
    if isinstance(binding, Value) or binding in known:
        return constants.array(_source(binding, known))
    return ResultName(binding)


def _with_frees(operations: list[PreparedOperation], results: tuple[Argument, ...]) -> Iterator[PreparedOperation]:
    last: dict[str, int] = {}
    for nth, operation in enumerate(operations):
        last |= dict.fromkeys([*_reads(operation), *(name for name, _ in operation.outputs)], nth)
    kept = set(_names(results))
    for nth, operation in enumerate(operations):
        yield replace(operation, frees=tuple(name for name, use in last.items() if use == nth and name not in kept))


def _reads(operation: PreparedOperation) -> Iterator[str]:
    for _, argument in operation.arguments:
        yield from _names(argument if isinstance(argument, tuple) else (argument,))
    for block in operation.blocks:
        yield from _names(block.results)
        for inner in block.operations:
            yield from _reads(inner)


def _names(arguments: Iterable[Argument]) -> Iterator[str]:
    return (one.name for one in arguments if isinstance(one, ResultName))
