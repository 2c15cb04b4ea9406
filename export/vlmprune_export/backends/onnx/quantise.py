"""Post-training quantisation of a stage's matrix products, one weight at a time.

The graph is rewritten while its weights are elsewhere, and every weight is written as soon as it is quantised. So no
second copy of a stage is ever in memory; ONNX Runtime's own quantisers hold three.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from vlmprune_export.backends.onnx.external_data import Weights, append_array
from vlmprune_export.backends.onnx.fused_attention import expose_products
from vlmprune_export.backends.onnx.products import int4_product, int8_product
from vlmprune_export.backends.onnx.row_scales import rewrite, scale_rows, split_gemms
from vlmprune_export.quantisation_grids import BlockGrid, QuantisationGrid
from vlmprune_runtime.progress import Report

# How each quantisation treats each stage. The prune stage has no weights and selects in fp32. At int4, vision and head
# have 8 bits, because 4 bits there change the kept set.
PLANS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "int8": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "int8"},
    "int4": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "int4"},
}
_BLOCK = 32

# The tail's weights lie on this grid when it is captured, so that the quantiser derives the same scales.
FITTED: Mapping[str, QuantisationGrid] = {"int4": BlockGrid(_BLOCK, lowest=0, highest=15, zero_point=True)}

Arrays = dict[str, NDArray[Any]]
Product = Callable[[NodeProto, NDArray[np.float32]], tuple[list[NodeProto], Arrays]]


def quantise(model: onnx.ModelProto, weights: Weights, target: Path, kind: str, report: Report) -> None:
    """Writes the quantised graph to `target`, and its weights beside it in `target`.data.

    `weights` are the values of those initializers that hold none themselves. `report` gets each product as it begins.
    """
    weights = split_gemms(model, weights)
    if kind == "int8":  # 8-bit weights per column, activations 8-bit per token at run time
        expose_products(model)
        scale_rows(model)
    data = target.with_name(f"{target.name}.data")
    stored = _quantise_products(model, weights, data, _PRODUCTS[kind], report)
    _keep_rest(model, weights, data, stored)
    target.write_bytes(model.SerializeToString())


def _int4(node: NodeProto, weight: NDArray[np.float32]) -> tuple[list[NodeProto], Arrays]:
    return int4_product(node, weight, _BLOCK)


_PRODUCTS: Mapping[str, Product] = {"int8": int8_product, "int4": _int4}


def _quantise_products(
    model: onnx.ModelProto, weights: Weights, data: Path, product: Product, report: Report
) -> list[onnx.TensorProto]:
    """Replaces every product with a matrix among `weights`, and returns the initializers of the new nodes."""
    stored: dict[str, onnx.TensorProto] = {}
    products = [node for node in model.graph.node if _is_product(node, weights)]
    begun = 0

    def quantised(node: NodeProto) -> list[NodeProto]:
        nonlocal begun
        if not _is_product(node, weights):
            return [node]
        begun += 1
        report(f"quantising matrix {begun} of {len(products)}")
        nodes, arrays = product(node, weights[node.input[1]].numpy())
        new = {key: append_array(data, array) for key, array in arrays.items() if key not in stored}
        stored.update((key, location.initializer(key)) for key, location in new.items())
        return nodes

    rewrite(model, quantised)
    _import_operators(model)
    return list(stored.values())


def _is_product(node: NodeProto, weights: Weights) -> bool:
    return node.op_type == "MatMul" and node.input[1] in weights and len(weights[node.input[1]].shape) == 2


def _import_operators(model: onnx.ModelProto) -> None:
    if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _keep_rest(model: onnx.ModelProto, weights: Weights, data: Path, stored: list[onnx.TensorProto]) -> None:
    """Writes the weights that stay as they are, and gives the graph the initializers of all."""
    used = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    for tensor in model.graph.initializer:
        if tensor.name not in used:
            continue
        array = weights.get(tensor.name)
        stored.append(tensor if array is None else append_array(data, array.numpy()).initializer(tensor.name))
    del model.graph.initializer[:]
    model.graph.initializer.extend(stored)
