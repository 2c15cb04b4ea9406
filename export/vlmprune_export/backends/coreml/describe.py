"""Describes stages for the manifest: their tensors, functions and files, and compute units to load them with."""

from pathlib import Path
from typing import NamedTuple, TypeVar

from vlmprune_export.backends.coreml.cache import StateLayout
from vlmprune_export.backends.coreml.function_lengths import Function
from vlmprune_export.stage_table import PAST_TOKENS, StageEntry
from vlmprune_runtime.schema import Cache, Graph, Input, Stage, Tensor

LAST_ROW = "last_row"
T = TypeVar("T", bound=Tensor)


class Placement(NamedTuple):
    """Compute units that a stage should be loaded with, and why. Expected from the graph; measured on no device."""

    units: str
    reason: str


PLACEMENTS = {
    "vision": Placement("CPU_AND_NE", "static fp16 convolution, matrices and layer norms: the Neural Engine takes all"),
    "embed": Placement("CPU_ONLY", "one table lookup: nothing to gain elsewhere"),
    "decoder": Placement("CPU_AND_GPU", "RMS norms are fp32, which the Neural Engine does not compute"),
    "prune": Placement("CPU_ONLY", "fp32 loop of small steps: selection must not be rounded, and each step waits"),
}


def declare(entry: StageEntry) -> Stage:
    """Returns the stage with the tensors that its functions take: int32 indices, leading ones, the last row's index."""
    if entry.declared.role == "prune":
        tensors = {side: tuple(map(_int32, getattr(entry.declared, side))) for side in ("inputs", "outputs")}
        return entry.declared.model_copy(update=tensors)
    inputs = [_batched(_int32(tensor)) for tensor in entry.declared.inputs]
    if entry.declared.output("logits"):
        inputs.append(Input(name=LAST_ROW, dtype="int32", shape=(1,), source="sequence.last_row"))
    outputs = [_batched(_int32(tensor)) for tensor in entry.declared.outputs]
    return entry.declared.model_copy(update={"inputs": tuple(inputs), "outputs": tuple(outputs)})


def inputs_of(stage: Stage, function: Function) -> tuple[Input, ...]:
    """Returns what a function takes: a decode the number of past tokens, and several tokens the last one's index."""
    absent = {PAST_TOKENS} if function.phase == "prefill" else set[str]()
    if function.phase == "decode" and function.tokens == 1:
        absent = {LAST_ROW}
    return tuple(tensor for tensor in stage.inputs if tensor.name not in absent)


def describe(
    entry: StageEntry, package: Path, functions: tuple[Function, ...], quantisation: str, layout: StateLayout | None
) -> Stage:
    """Returns the declared stage with its functions and files."""
    stage = declare(entry)
    files = (path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file())
    update = {
        "graphs": tuple(_graph(entry, package, function) for function in functions),
        "data": tuple(sorted(files)),
        "cache": None if layout is None else _cache(stage.cache, layout),
        "quantisation": quantisation,
        "compute_units": PLACEMENTS[stage.role].units,
        "compute_units_reason": PLACEMENTS[stage.role].reason,
    }
    return stage.model_copy(update=update)


def _graph(entry: StageEntry, package: Path, function: Function) -> Graph:
    names = tuple(tensor.name for tensor in inputs_of(declare(entry), function))
    return Graph(
        file=package.name, entry=function.name, phase=function.phase, tokens=function.tokens,
        text_tokens=function.text_tokens, inputs=names, grid=function.grid,
    )  # fmt: skip


def _cache(declared: Cache | None, layout: StateLayout) -> Cache | None:
    """Returns the cache as two states, of all keys and of all values of the stage."""
    update = {
        "owner": "state",
        "dtype": "float16",
        "layout": ("layers", "kv_heads", "capacity", "head_dim"),
        "capacity_tokens": layout.capacity_tokens,
        "states": layout.names,
    }
    return declared and declared.model_copy(update=update)


def _int32(tensor: T) -> T:
    return tensor.model_copy(update={"dtype": "int32"}) if tensor.dtype == "int64" else tensor


def _batched(tensor: T) -> T:
    """Adds a leading one to the graph's shape of a tensor that has tokens, or of a row of logits."""
    batched = "tokens" in tensor.shape or tensor.name == "logits"
    return tensor.model_copy(update={"graph_shape": (1, *tensor.shape)}) if batched else tensor
