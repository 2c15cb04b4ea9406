"""A block of a program made ready to run: constants resolved, operations looked up, lifetimes known."""

import inspect
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from vlmprune_runtime.engines.mil.constants import Compressed, Constants, Source
from vlmprune_runtime.engines.mil.ops import KNOWN, TABLE
from vlmprune_runtime.engines.mil.program import Block, Operation, Type, Value

MANY = {("concat", "values"), ("stack", "values"), ("einsum", "values"), ("while_loop", "loop_vars")}
Argument = Any  # an array, a `Name`, or a tuple of them


@dataclass(frozen=True)
class Name:
    """An earlier result."""

    name: str


@dataclass(frozen=True)
class Step:
    """One operation with its arguments; `frees` are results that nothing after it reads."""

    type: str
    arguments: tuple[tuple[str, Argument], ...]
    outputs: tuple[tuple[str, Type], ...]
    blocks: tuple["Steps", ...] = ()
    frees: tuple[str, ...] = ()


@dataclass(frozen=True)
class Steps:
    """A block: what it takes, its steps, what it gives."""

    inputs: tuple[tuple[str, Type], ...]
    steps: tuple[Step, ...]
    results: tuple[Argument, ...]


def unknown_operations(block: Block) -> Iterator[str]:
    """Everything in the block that no function here can do, nested blocks included."""
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
) -> Steps:
    """The block as steps. Only the outermost block frees results: an inner one runs many times."""
    known: MutableMapping[str, Source] = ChainMap({}, {} if outer is None else outer)
    steps = []
    for operation in block.operations:
        if operation.type == "const":
            known[operation.outputs[0][0]] = operation.attributes["val"]
        elif operation.type.startswith("constexpr_"):
            known[operation.outputs[0][0]] = _compressed(operation, known)
        else:
            steps.append(_step(operation, known, constants))
    results = tuple(_resolved(name, known, constants) for name in block.outputs)
    return Steps(block.inputs, tuple(_with_frees(steps, results) if free else steps), results)


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


def _step(operation: Operation, known: MutableMapping[str, Source], constants: Constants) -> Step:
    arguments = []
    for name, bindings in operation.inputs.items():
        found = tuple(_resolved(one, known, constants) for one in bindings)
        arguments.append((name, found if (operation.type, name) in MANY else found[0]))
    blocks = tuple(prepare(inner, constants, known, free=False) for inner in operation.blocks)
    return Step(operation.type, tuple(arguments), operation.outputs, blocks)


def _resolved(binding: str | Value, known: Mapping[str, Source], constants: Constants) -> Argument:
    if isinstance(binding, Value) or binding in known:
        return constants.array(_source(binding, known))
    return Name(binding)


def _with_frees(steps: list[Step], results: tuple[Argument, ...]) -> Iterator[Step]:
    last: dict[str, int] = {}
    for nth, step in enumerate(steps):
        last |= dict.fromkeys([*_reads(step), *(name for name, _ in step.outputs)], nth)
    kept = set(_names(results))
    for nth, step in enumerate(steps):
        frees = tuple(name for name, use in last.items() if use == nth and name not in kept)
        yield Step(step.type, step.arguments, step.outputs, step.blocks, frees)


def _reads(step: Step) -> Iterator[str]:
    for _, argument in step.arguments:
        yield from _names(argument if isinstance(argument, tuple) else (argument,))
    for block in step.blocks:
        yield from _names(block.results)
        for inner in block.steps:
            yield from _reads(inner)


def _names(arguments: Iterable[Argument]) -> Iterator[str]:
    return (one.name for one in arguments if isinstance(one, Name))
