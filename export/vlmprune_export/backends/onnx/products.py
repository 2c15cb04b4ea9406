"""A product with a constant matrix in the quantised forms that ONNX Runtime has kernels for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from vlmprune_export.backends.onnx.external_data import to_int8

Arrays = dict[str, NDArray[Any]]


def int8_product(node: NodeProto, weight: NDArray[np.float32]) -> tuple[list[NodeProto], Arrays]:  # weight (I, O)
    """Returns nodes that quantise the activations at run time, and the 8-bit weight with a scale per column."""
    (rows, name), [product] = node.input, node.output
    scale = np.maximum(np.maximum(weight.max(0), -weight.min(0)), np.float32(1e-12)) / np.float32(127)
    arrays = {f"{name}_int8": to_int8(weight, scale[None]), f"{name}_scale": scale}
    parts = [f"{product}_{part}" for part in ("quantised", "activation_scale", "zero_point")]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [rows], parts, f"{product}_quantise"),
        helper.make_node(
            "MatMulInteger", [parts[0], f"{name}_int8", parts[2]], [f"{product}_sum"], node.name or f"{product}_integer"
        ),
        helper.make_node("Cast", [f"{product}_sum"], [f"{product}_wide"], f"{product}_cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [parts[1], f"{name}_scale"], [f"{product}_scales"], f"{product}_scales"),
        helper.make_node("Mul", [f"{product}_wide", f"{product}_scales"], [product], f"{product}_scaled"),
    ]
    return nodes, arrays


def int4_product(
    node: NodeProto, weight: NDArray[np.float32], block: int
) -> tuple[list[NodeProto], Arrays]:  # weight (I, O)
    """Returns a `MatMulNBits` with 4-bit weights in blocks of inputs, each with a zero point.

    Activations are 8-bit per block at run time (accuracy level 4).
    """
    graph = helper.make_graph([node], "product", [], [], [numpy_helper.from_array(weight, node.input[1])])
    quantizer = MatMulNBitsQuantizer(
        helper.make_model(graph), block_size=block, is_symmetric=False, accuracy_level=4
    )  # fmt: skip
    quantizer.process()
    found = quantizer.model.model.graph
    return list(found.node), {tensor.name: numpy_helper.to_array(tensor) for tensor in found.initializer}
