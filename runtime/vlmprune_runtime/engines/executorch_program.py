"""Checks a .pte file and the runtime before anything is loaded, because a failure later may end the process."""

import struct
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BundleError, EngineError, comma_list
from vlmprune_runtime.schema import Bundle, Stage, Tensor

IDENTIFIER = b"ET12"  # the flatbuffer schema that executorch 1.x reads
_HEAD = struct.Struct("<4x4s4sIQQQ")  # root, identifier, magic, header length, program, segment base, segments
_DTYPES = {0: "uint8", 1: "int8", 3: "int32", 4: "int64", 5: "float16", 6: "float32"}  # ExecuTorch's ScalarType


def check_file(path: Path) -> None:
    """Raises `BundleError` unless the file has the header of a .pte of this version and the length that it states."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise BundleError(path.name, f"is truncated: {len(head)} bytes are no .pte")
    identifier, magic, _, program_bytes, base, segments_bytes = _HEAD.unpack(head)
    if identifier != IDENTIFIER:
        raise BundleError(path.name, f"is not a .pte of this version: got {identifier!r}, expected {IDENTIFIER!r}")
    if magic != b"eh00":
        raise BundleError(path.name, "has no extended header")
    expected, size = max(program_bytes, base + segments_bytes), path.stat().st_size
    if size < expected:
        raise BundleError(path.name, f"is truncated: got {size} bytes, expected {expected}")


def check_runtime(bundle: Bundle, runtime: Any) -> None:
    """Raises `EngineError` for a stage whose operators or delegates this runtime does not register."""
    operators = set(runtime.operator_registry.operator_names)
    delegates = set(runtime.backend_registry.registered_backend_names)
    for name, stage in bundle.stages.items():
        if stage.lowering is None:
            continue
        if absent := sorted(set(stage.lowering.operators) - operators):
            raise EngineError(name, f"this ExecuTorch runtime lacks the operators {comma_list(absent)}")
        if absent := sorted(set(stage.lowering.delegates) - delegates):
            raise EngineError(name, f"this ExecuTorch runtime lacks the delegates {comma_list(absent)}")


def check_method(file: str, name: str, stage: Stage, method: Any, context_tokens: int) -> None:
    """Raises `BundleError` for the first tensor of a method whose dtype or shape is not as declared."""
    inputs = [method.input_tensor_meta(nth) for nth in range(method.num_inputs())]
    outputs = [method.output_tensor_meta(nth) for nth in range(method.num_outputs())]
    _check_side(file, f"stages.{name}.inputs", stage.inputs, inputs, context_tokens)
    _check_side(file, f"stages.{name}.outputs", stage.outputs, outputs, context_tokens)


def _check_side(file: str, field: str, declared: tuple[Tensor, ...], actual: list[Any], context_tokens: int) -> None:
    if len(actual) != len(declared):
        raise BundleError(file, f"method has {len(actual)} tensors, manifest says {len(declared)}", field)
    for tensor, info in zip(declared, actual, strict=True):
        # A method states only the largest size of a free dimension.
        sizes = tuple(context_tokens if isinstance(size, str) else size for size in tensor.in_graph)
        dtype = _DTYPES.get(info.dtype(), f"type {info.dtype()}")
        if (dtype, tuple(info.sizes())) != (tensor.dtype, sizes):
            reason = f"method has {dtype} {tuple(info.sizes())}, manifest says {tensor.dtype} {sizes}"
            raise BundleError(file, reason, f"{field}.{tensor.name}")
