"""What the manifest says of a stage, read from the saved graph itself."""

from pathlib import Path

import onnx
from onnx import TensorProto

from vlmprune_export.backends.onnx.capture import Captured
from vlmprune_runtime.schema import Stage, Tensor

_DTYPES = {"FLOAT": "float32", "FLOAT16": "float16", "INT64": "int64", "INT32": "int32"}


def describe(path: Path, captured: Captured | None, quantisation: str | None) -> Stage:
    """Tensors, weight files and cache of the graph at `path`."""
    model = onnx.load(str(path), load_external_data=False)
    cache = captured.cache if captured else None
    caches = set() if cache is None else {*cache.inputs, *cache.outputs}
    return Stage(
        file=path.name,
        data=_data_files(model),
        inputs=tuple(_tensor(value) for value in model.graph.input if value.name not in caches),
        outputs=tuple(_tensor(value) for value in model.graph.output if value.name not in caches),
        cache=cache,
        quantisation=quantisation or "none",  # type: ignore[arg-type]
    )


def _data_files(model: onnx.ModelProto) -> tuple[str, ...]:
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return tuple(sorted({entry.value for entry in entries if entry.key == "location"}))


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim)
    dtype = _DTYPES[TensorProto.DataType.Name(kind.elem_type)]
    return Tensor(name=value.name, dtype=dtype, shape=shape)  # type: ignore[arg-type]
