"""Chooses the function of a package that runs a call, pads its inputs and removes the padding of its outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.engines.signature import rows_and_past
from vlmprune_runtime.errors import BadRequest, BundleError, comma_list, shorten
from vlmprune_runtime.mil_reference.package import arguments_of, read_model
from vlmprune_runtime.mil_reference.program import Type
from vlmprune_runtime.schema import MANIFEST, Graph, Input, Stage

Array = npt.NDArray[Any]
Arguments = dict[str, dict[str, Type]]


def check_functions(bundle: OpenBundle, name: str) -> Arguments:
    """Returns the inputs of every declared function. Raises `BundleError` for a function that is not as declared."""
    stage = bundle.manifest.stage(name)
    field = f"stages.{name}.graphs"
    if stage.cache and (absent := {"prefill", "decode"} - {graph.phase for graph in stage.graphs}):
        raise BundleError(MANIFEST, f"names no {' and no '.join(sorted(absent))} function", field)
    if len(stage.graph_files) != 1:
        raise BundleError(MANIFEST, f"names {len(stage.graph_files)} packages; allowed: one", field)
    model = read_model(bundle.path(stage.graph_files[0]))
    arguments = {}
    for graph in stage.graphs:
        if graph.entry not in model.functions:
            raise BundleError(graph.file, f"has no function {graph.entry!r}", field)
        arguments[graph.entry] = _check_function(stage, graph, model.functions[graph.entry], field)
    return arguments


def _check_function(stage: Stage, graph: Graph, block: Any, field: str) -> dict[str, Type]:
    arguments, outputs = arguments_of(block), {tensor.name for tensor in stage.outputs}
    declared = {tensor.name for tensor in inputs_of(stage, graph)}
    if arguments.keys() != declared or not outputs <= set(block.outputs):
        reason = f"{graph.entry} takes {comma_list(arguments)} and gives {comma_list(block.outputs)}"
        raise BundleError(graph.file, reason, field)
    if dynamic := [name for name, kind in arguments.items() if kind.shape is None]:
        raise BundleError(graph.file, f"{graph.entry} has no fixed shape for {comma_list(dynamic)}", field)
    return arguments


def inputs_of(stage: Stage, graph: Graph) -> tuple[Input, ...]:
    """Returns the inputs of the stage that a graph takes."""
    return tuple(tensor for tensor in stage.inputs if graph.inputs is None or tensor.name in graph.inputs)


def graph_for(name: str, stage: Stage, inputs: Mapping[str, Array], grid: int) -> tuple[Graph, int]:
    """Returns the shortest function that the tokens fit, and how many there are. Raises `BadRequest` if none does.

    Tokens behind others take a decode function; a stage with a cache starts with a prefill.
    """
    rows, past = rows_and_past(stage, inputs)
    text = text_rows(stage, inputs)
    graphs = [graph for graph in stage.graphs if graph.grid in (None, grid)]
    fitting = [graph for graph in graphs if stage.cache is None or (graph.phase == "decode") == (past > 0)]
    room = [(graph.tokens or rows, graph.text_tokens or text, graph) for graph in fitting]
    long_enough = [(tokens, texts, graph) for tokens, texts, graph in room if tokens >= rows and texts >= text]
    if not long_enough:
        lengths = sorted(graph.tokens or graph.text_tokens or rows for graph in fitting)
        length = f"{rows} tokens" if any(graph.tokens for graph in fitting) else f"{text} text tokens"
        raise BadRequest(
            f"{name}: {length} fit no function; it has room for: {comma_list(lengths)}; an export with more --images "
            "or longer --text-tokens has more"
        )
    return min(long_enough, key=lambda one: one[:2])[2], rows


def text_rows(stage: Stage, inputs: Mapping[str, Array]) -> int:
    """Returns how many text tokens a call brings to a stage that reads their rows, otherwise 0."""
    named = (tensor for tensor in stage.inputs if "text_tokens" in tensor.shape and tensor.name in inputs)
    return max((inputs[tensor.name].shape[tensor.shape.index("text_tokens")] for tensor in named), default=0)


def longest_behind(stage: Stage) -> int:
    """Returns how many tokens behind others a stage takes in one call."""
    return max((graph.tokens or 1 for graph in stage.graphs if graph.phase == "decode"), default=1)


def part_of(stage: Stage, inputs: Mapping[str, Array], rows: range, past: int) -> dict[str, Array]:
    """Returns the inputs of a call with some of several tokens alone."""
    part = {}
    for tensor in stage.inputs:
        array = inputs[tensor.name]
        if tensor.source == "sequence.past_tokens":
            array = np.array([past + rows.start])
        elif tensor.source == "sequence.last_row":
            array = np.array([len(rows) - 1])
        elif "tokens" in tensor.shape:
            array = np.take(array, rows, axis=tensor.shape.index("tokens"))
        part[tensor.name] = array
    return part


def pad_inputs(stage: Stage, inputs: Mapping[str, Array], takes: Mapping[str, Type]) -> dict[str, Array]:
    """Returns the inputs in a function's shapes, padded at the end. Raises `ValueError` for those that do not fit."""
    declared = {tensor.name: tensor for tensor in stage.inputs}
    return {name: pad_input(declared[name], inputs[name], kind) for name, kind in takes.items()}


def pad_input(tensor: Input, array: Array, kind: Type) -> Array:
    """Returns one input with its tokens padded with zeros or the last value, as the manifest says.

    >>> kind = Type("int32", (1, 4))
    >>> places = Input(name="positions", dtype="int32", shape=("tokens",), source="sequence.positions", pad="last")
    >>> pad_input(places, np.array([4, 5]), kind).tolist()
    [[4, 5, 5, 5]]
    """
    shape = kind.shape or ()
    expected = shape[len(shape) - len(tensor.shape) :]
    shape_before = array.shape
    axis = next((axis for axis, size in enumerate(tensor.shape) if isinstance(size, str)), None)
    if axis is not None and array.ndim == len(expected) and expected[axis] > array.shape[axis]:
        padding = [(0, expected[axis] - array.shape[axis] if nth == axis else 0) for nth in range(array.ndim)]
        how: Any = {"mode": "edge"} if tensor.pad == "last" else {}
        array = np.pad(array, padding, **how)
    if array.shape != expected:
        raise ValueError(f"{shorten(tensor.name)}: got shape {shape_before}, allowed: {expected}")
    return array.reshape(shape).astype(kind.dtype)


def unpad_outputs(stage: Stage, outputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Returns the declared outputs in their ranks and dtypes, without the rows of padding."""
    unpadded = {}
    for tensor in stage.outputs:
        array = outputs[tensor.name]
        array = array.reshape(array.shape[max(0, array.ndim - len(tensor.shape)) :])
        if "tokens" in tensor.shape:
            array = np.take(array, range(rows), axis=tensor.shape.index("tokens"))
        unpadded[tensor.name] = array.astype(tensor.dtype)
    return unpadded
