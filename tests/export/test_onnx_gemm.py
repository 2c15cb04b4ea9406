"""Linear layers of rows without a batch are quantised like all others."""

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from sessions import session_of
from vlmprune_export.backends.onnx.external_data import take_weights
from vlmprune_export.backends.onnx.row_scales import split_gemms


def test_a_gemm_becomes_a_product_and_a_sum() -> None:
    dice = np.random.default_rng(0)
    weight, bias = (dice.standard_normal(size, dtype=np.float32) for size in ((5, 3), (5,)))
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1),
        helper.make_node("Gemm", ["x", "w"], ["z"], transB=1),
        helper.make_node("Gemm", ["x", "w"], ["half"], transB=1, alpha=0.5),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 5]) for name in ("y", "z", "half")]
    graph = helper.make_graph(
        nodes, "toy", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])], outputs,
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "b")],
    )  # fmt: skip
    whole = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    weights = take_weights(whole)
    model = ir.to_proto(whole)
    weights = split_gemms(model, weights)
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].numpy(), tensor.name))
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add", "MatMul", "Gemm"]
    onnx.checker.check_model(model, full_check=True)
    rows = dice.standard_normal((2, 3), dtype=np.float32)
    found = session_of(model.SerializeToString()).run(None, {"x": rows})
    for values, expected in zip(found, (rows @ weight.T + bias, rows @ weight.T, rows @ weight.T / 2), strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-6)
