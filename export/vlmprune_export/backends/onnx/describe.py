"""Describes saved graphs for the manifest."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from vlmprune_export.backends.float_weights import FloatWeight, sum_float_weights
from vlmprune_export.stage_table import StageEntry
from vlmprune_runtime.schema import Cache, Graph, Lowering, Stage


def describe(entry: StageEntry, paths: Sequence[Path], cache: Cache | None, quantisation: str | None) -> Stage:
    """Returns the stage with its graphs, one per module, and the weight files that they read."""
    graphs = tuple(Graph(file=path.name, grid=entry.grid_of(nth)) for nth, path in enumerate(paths))
    models = [onnx.load(str(path), load_external_data=False) for path in paths]
    update = {
        "graphs": graphs,
        "data": tuple(sorted({name for model in models for name in _data_files(model)})),
        "cache": cache,
        "quantisation": quantisation or "none",
        "lowering": _lowering(models, quantised=quantisation is not None),
    }
    return entry.declared.model_copy(update=update)


def _lowering(models: Sequence[onnx.ModelProto], *, quantised: bool) -> Lowering:
    """Returns the operators of all graphs, loop bodies included, and what the first graph holds in fp32."""
    return Lowering(
        backend="onnxruntime",
        delegates=(),
        delegated_fraction=0.0,
        operators=tuple(sorted({name for model in models for name in _operators(model.graph)})),
        status="runnable",
        float_weights=sum_float_weights(_float_weights(models[0].graph)) if quantised else (),
    )


def _operators(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield f"{node.domain or 'ai.onnx'}::{node.op_type}"
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _operators(inner)


def _float_weights(graph: onnx.GraphProto) -> Iterator[FloatWeight]:
    """Yields the fp32 weights; the scales of quantised ones are none."""
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    for node in graph.node:
        for name in () if node.op_type == "MatMulNBits" else node.input:
            count = math.prod(weights[name].dims) if name in weights else 0
            if count > 1 and not name.endswith("_scale"):
                yield FloatWeight(node.op_type, count, 4 * count)
                del weights[name]


def _data_files(model: onnx.ModelProto) -> set[str]:
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}
