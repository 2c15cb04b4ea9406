"""Scales activations per token before 8-bit matrix products.

ONNX Runtime's dynamic quantisation has one scale for all tokens of a call. The first token of a decoder carries
activations a hundred times the others', so that scale leaves the others a few levels. x W = r * ((x / r) W) with
r = max |x| of each row is exact, and gives every row the whole range: on pocket the error of the logits falls
from 0.41 to 0.10 of their RMS, for two cheap elementwise passes.
"""

from collections.abc import Callable

import onnx
import onnx_ir as ir
from onnx import NodeProto, TensorProto, helper

from vlmprune_export.backends.onnx.external_data import Weights

_AXIS, _FLOOR = "row_axis", "row_floor"
_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}


def scale_rows(model: onnx.ModelProto) -> None:
    """Divides the rows of every product with a constant matrix by their largest magnitude, and undoes it after."""
    constants = {tensor.name for tensor in model.graph.initializer}

    def scaled(node: NodeProto) -> list[NodeProto]:
        return _scaled(node) if node.op_type == "MatMul" and node.input[1] in constants else [node]

    rewrite(model, scaled)
    model.graph.initializer.append(helper.make_tensor(_AXIS, TensorProto.INT64, [1], [-1]))
    model.graph.initializer.append(helper.make_tensor(_FLOOR, TensorProto.FLOAT, [], [1e-12]))


def split_gemms(model: onnx.ModelProto, weights: Weights) -> Weights:
    """Replaces every `Gemm` with a constant matrix by a product and a sum: quantisers know products alone.

    Linear layers of rows without a batch become `Gemm`, as in a tower that takes patches of one image. Returns the
    weights with the transposed matrices among them, which are views of the others.
    """
    transposed: dict[str, ir.TensorProtocol] = {}

    def split(node: NodeProto) -> list[NodeProto]:
        options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} | options == _PLAIN
        if node.op_type != "Gemm" or not plain or node.input[1] not in weights:
            return [node]
        matrix, product = node.input[1], f"{node.output[0]}_product"
        if matrix not in transposed:
            transposed[matrix] = ir.Tensor(weights[matrix].numpy().T, name=f"{matrix}_transposed")
        name = product if len(node.input) > 2 else node.output[0]
        first = helper.make_node("MatMul", [node.input[0], f"{matrix}_transposed"], [name], f"{name}_matmul")
        if len(node.input) < 3:
            return [first]
        return [first, helper.make_node("Add", [product, node.input[2]], [node.output[0]], f"{node.output[0]}_bias")]

    rewrite(model, split)
    model.graph.initializer.extend(
        TensorProto(name=f"{matrix}_transposed", data_type=TensorProto.FLOAT, dims=tensor.shape.numpy())
        for matrix, tensor in transposed.items()
    )
    return {**weights, **{f"{matrix}_transposed": tensor for matrix, tensor in transposed.items()}}


def rewrite(model: onnx.ModelProto, replace: Callable[[NodeProto], list[NodeProto]]) -> None:
    """Replaces every node of the main graph by the nodes that `replace` returns for it."""
    nodes = [_copy(new) for node in model.graph.node for new in replace(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _scaled(node: NodeProto) -> list[NodeProto]:
    rows, product, name = node.input[0], node.output[0], f"{node.output[0]}_rows"
    before = [
        helper.make_node("Abs", [rows], [f"{name}_abs"], f"{name}_abs"),
        helper.make_node("ReduceMax", [f"{name}_abs", _AXIS], [f"{name}_max"], f"{name}_max", keepdims=1),
        helper.make_node("Max", [f"{name}_max", _FLOOR], [f"{name}_scale"], f"{name}_scale"),
        helper.make_node("Div", [rows, f"{name}_scale"], [f"{name}_unit"], f"{name}_unit"),
    ]
    inner = _copy(node)
    inner.input[0], inner.output[0] = f"{name}_unit", f"{name}_product"
    after = helper.make_node("Mul", [f"{name}_product", f"{name}_scale"], [product], f"{name}_back")
    return [*before, inner, after]


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
