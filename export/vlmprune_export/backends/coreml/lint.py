"""Checks a saved package against rules, operation by operation.

Every function writes every state; no index is, or ever was, an fp16 number (which holds whole numbers up to 2048
only); every operation belongs to iOS 18; no shape is dynamic.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlmprune_export.backends.coreml.convert import SSAOpRegistry, ct
from vlmprune_export.backends.coreml.package import SPEC

OPSETS = {"CoreML8": ct.target.iOS18}
INDICES = {
    "gather": ("indices",),
    "gather_along_axis": ("indices",),
    "gather_nd": ("indices",),
    "scatter": ("indices",),
    "scatter_along_axis": ("indices",),
    "scatter_nd": ("indices",),
    "slice_by_index": ("begin", "end", "stride"),
    "slice_by_size": ("begin", "size"),
    "slice_update": ("begin", "end", "stride"),
}
_STATE = {"read_state", "write_state"}
_FLOAT16, _INT32 = 10, 23  # of MIL.proto's DataType


class LintError(ValueError):
    """A package that breaks a rule; the message names function and operation."""


def lint(package: Path) -> None:
    """Raises `LintError` for the first broken rule."""
    for name, (inputs, block, opset) in read_functions(package).items():
        for problem in problems(inputs, block, opset):
            raise LintError(f"function {name!r}: {problem}")


def count_operations(package: Path) -> dict[str, Counter[str]]:
    """Counts each operation in each function, without constants."""
    return {
        name: Counter(operation.type for operation in _all(block) if operation.type != "const")
        for name, (_, block, _) in read_functions(package).items()
    }


def read_functions(package: Path) -> dict[str, tuple[list[Any], Any, str]]:
    """Returns inputs, body and operation set of each function of a saved package."""
    model = ct.proto.Model_pb2.Model()
    model.ParseFromString((package / SPEC).read_bytes())
    functions = {name: model.mlProgram.functions[name] for name in sorted(model.mlProgram.functions)}
    return {
        name: (list(one.inputs), one.block_specializations[one.opset], one.opset) for name, one in functions.items()
    }


def problems(inputs: list[Any], block: Any, opset: str) -> Iterator[str]:
    """Yields every broken rule of one function."""
    if opset not in OPSETS:
        yield f"operation set {opset!r}; allowed: {', '.join(OPSETS)}"
        return
    operations = list(_all(block))
    types = _types(inputs, operations)
    yield from _unwritten_states(inputs, operations)
    for given in inputs:
        if not _is_fixed(given.type):
            yield f"input {given.name!r} has a dynamic shape"
    for operation in operations:
        yield from (f"{operation.type} {_name(operation)!r}: {problem}" for problem in _broken(operation, types, opset))


def _broken(operation: Any, types: dict[str, Any], opset: str) -> Iterator[str]:
    if not _belongs(operation.type, opset):
        yield f"is no operation of {opset}"
    if not all(_is_fixed(output.type) for output in operation.outputs):
        yield "dynamic shape"
    for key in INDICES.get(operation.type, ()):
        if any(_dtype(kind) not in (None, _INT32) for kind in _argument_types(operation, key, types)):
            yield f"{key} is not int32"
    if operation.type == "cast" and _dtypes(operation, types) in ({_FLOAT16, _INT32},):
        yield "casts between an index and an fp16 number"


def _unwritten_states(inputs: list[Any], operations: list[Any]) -> Iterator[str]:
    written = {_arguments(operation, "input")[0] for operation in operations if operation.type == "write_state"}
    for given in inputs:
        if given.type.WhichOneof("type") == "stateType" and given.name not in written:
            yield f"write_state: state {given.name!r} is never written"


def _all(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _all(inner)


def _types(inputs: list[Any], operations: list[Any]) -> dict[str, Any]:
    """Returns the types of all values by name."""
    types = {given.name: given.type for given in inputs}
    for operation in operations:
        types |= {output.name: output.type for output in operation.outputs}
        for block in operation.blocks:
            types |= {given.name: given.type for given in block.inputs}
    return types


def _belongs(op_type: str, opset: str) -> bool:
    versions = SSAOpRegistry.core_ops.get(op_type, {})
    return op_type in _STATE or op_type == "const" or any(version <= OPSETS[opset] for version in versions)


def _arguments(operation: Any, key: str) -> list[str]:
    return [binding.name for binding in operation.inputs[key].arguments if binding.WhichOneof("binding") == "name"]


def _argument_types(operation: Any, key: str, types: dict[str, Any]) -> list[Any]:
    return [types[name] for name in _arguments(operation, key) if name in types] if key in operation.inputs else []


def _dtypes(operation: Any, types: dict[str, Any]) -> set[int | None]:
    both = [*_argument_types(operation, "x", types), *(output.type for output in operation.outputs)]
    return {_dtype(kind) for kind in both}


def _dtype(kind: Any) -> int | None:
    return int(kind.tensorType.dataType) if kind.WhichOneof("type") == "tensorType" else None


def _is_fixed(kind: Any) -> bool:
    tensor = kind.stateType.wrappedType if kind.WhichOneof("type") == "stateType" else kind
    dimensions = tensor.tensorType.dimensions
    return all(dimension.WhichOneof("dimension") == "constant" for dimension in dimensions)


def _name(operation: Any) -> str:
    return str(operation.outputs[0].name) if operation.outputs else "without output"
