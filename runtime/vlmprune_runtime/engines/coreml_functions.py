"""Chooses the function of a package that runs a call, pads its inputs and removes the padding of its outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.errors import BadRequest, BundleError
from vlmprune_runtime.mil_reference.package import arguments_of, read_model
from vlmprune_runtime.mil_reference.program import Type
from vlmprune_runtime.schema import Function, Stage

Array = npt.NDArray[Any]
Arguments = dict[str, dict[str, Type]]
OWN = {"slot", "last"}  # inputs of the packages that no stage has: the engine computes them
NO_ARGUMENT = {"past_tokens"}  # inputs of the stages that no package has


def check_functions(bundle: OpenBundle, name: str) -> Arguments:
    """The inputs of every declared function; `BundleError` if the package lacks one or if its inputs differ."""
    stage = bundle.manifest.stage(name)
    model = read_model(bundle.path(stage.file))
    field = f"stages.{name}.functions"
    if not stage.functions:
        raise BundleError("bundle.json", "names no function", field)
    passed = {tensor.name for tensor in stage.inputs} - NO_ARGUMENT
    found = {}
    for function in stage.functions:
        if function.name not in model.functions:
            raise BundleError(stage.file, f"has no function {function.name!r}", field)
        block = model.functions[function.name]
        takes, gives = arguments_of(block), {tensor.name for tensor in stage.outputs}
        if not passed <= takes.keys() <= passed | OWN or not gives <= set(block.outputs):
            reason = f"{function.name} takes {', '.join(takes)} and gives {', '.join(block.outputs)}"
            raise BundleError(stage.file, reason, field)
        if dynamic := [one for one, kind in takes.items() if kind.shape is None]:
            raise BundleError(stage.file, f"{function.name} has no fixed shape for {', '.join(dynamic)}", field)
        found[function.name] = takes
    if wanted := {"prefill", "decode"} - {one.phase for one in stage.functions} if stage.cache else None:
        raise BundleError("bundle.json", f"names no {' and no '.join(sorted(wanted))} function", field)
    return found


def function_for(name: str, stage: Stage, inputs: Mapping[str, Array], past: int) -> tuple[Function, int]:
    """The shortest function that the rows fit and how many rows there are; `BadRequest` if none is long enough.

    A stage without a cache may take the one-token function from the start, the others write a prefill first.
    """
    free = [tensor.name for tensor in stage.inputs if isinstance(tensor.shape[0], str)]
    rows = len(inputs[free[0]]) if free else 1
    if not free:
        return stage.functions[0], rows
    if past:
        return stage.functions[[one.phase for one in stage.functions].index("decode")], rows
    cached = "past_tokens" in inputs
    fitting = [one for one in stage.functions if not cached or one.phase != "decode"]
    lengths = sorted(one.tokens or rows for one in fitting)
    long_enough = [one for one in fitting if (one.tokens or rows) >= rows]
    if not long_enough:
        raise BadRequest(f"{name}: {rows} tokens fit no function; it has room for: {', '.join(map(str, lengths))}")
    return min(long_enough, key=lambda one: one.tokens or rows), rows


def pad_inputs(inputs: Mapping[str, Array], takes: Mapping[str, Type], past: int, rows: int) -> dict[str, Array]:
    """The stage's inputs, padded at the end to the function's shapes; `ValueError` for an input that does not fit."""
    own = {"slot": np.array([past]), "last": np.array([rows - 1])}
    found = {}
    for name, kind in takes.items():
        array = inputs[name] if name in inputs else own[name]
        found[name] = pad_rows(name, array, kind.shape or ()).astype(kind.dtype)
    return found


def pad_rows(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """The array with its first axis padded to `shape`: positions repeat the last one, other inputs get zeros.

    >>> pad_rows("positions", np.array([4, 5]), (1, 4)).tolist()
    [[4, 5, 5, 5]]
    """
    inner = int(np.prod(array.shape[1:]))
    wanted, ragged = divmod(int(np.prod(shape)), max(inner, 1))
    missing = wanted - len(array)
    if ragged or missing < 0 or not inner:
        raise ValueError(f"{name}: got shape {array.shape}, allowed: {shape}")
    if missing:
        how: Any = {"mode": "edge"} if name == "positions" else {}
        array = np.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)], **how)
    return array.reshape(shape)


def unpad_outputs(stage: Stage, outputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """The declared outputs in their ranks and dtypes, without the rows that belong to padding."""
    found = {}
    for tensor in stage.outputs:
        array = outputs[tensor.name]
        array = array.reshape(array.shape[max(0, array.ndim - len(tensor.shape)) :])
        array = array[:rows] if isinstance(tensor.shape[0], str) else array
        found[tensor.name] = array.astype(tensor.dtype)
    return found
