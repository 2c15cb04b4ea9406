"""Layer norms that were fused with a sum, and splits into one part, are computed as before once they are replaced."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from sessions import session_of
from vlmprune_export.backends.onnx.cheaper_nodes import replace_costly_nodes

WIDTH = 8
INPUTS = ("rows", "skip", "weight", "shift", "bias")


def fused(inputs: int, outputs: list[str]) -> onnx.ModelProto:
    """One fused sum and layer norm over (1, 4, 8), of so many inputs."""
    dice = np.random.default_rng(0)
    constants = [numpy_helper.from_array(dice.normal(size=WIDTH).astype(np.float32), name) for name in INPUTS[2:inputs]]
    node = helper.make_node(
        "SkipLayerNormalization", INPUTS[:inputs], outputs, "norm", domain="com.microsoft", epsilon=1e-3
    )
    return model_of([node], outputs, constants)


def model_of(nodes: list[onnx.NodeProto], outputs: list[str], constants: list[onnx.TensorProto]) -> onnx.ModelProto:
    taken = [name for name in INPUTS[:2] if any(name in node.input for node in nodes)]
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, WIDTH]) for name in taken]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, WIDTH]) for name in outputs if name]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "nodes", rows, results, constants)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("inputs", [3, 4, 5])
@pytest.mark.parametrize("outputs", [["normed"], ["normed", "", "", "sum"]])
def test_split_norms_equal_fused_ones(inputs: int, outputs: list[str]) -> None:
    before = fused(inputs, outputs)
    after = replaced(before)
    assert [node.op_type for node in after.graph.node] == [*["Add"] * (2 if inputs == 5 else 1), "LayerNormalization"]
    check_equal(before, after)


def test_splits_into_one_part_are_removed() -> None:
    nodes = [
        helper.make_node("Split", ["rows"], ["part"], axis=1, num_outputs=1),
        helper.make_node("Neg", ["part"], ["normed"]),
    ]
    before = model_of(nodes, ["normed"], [])
    after = replaced(before)
    assert [node.op_type for node in after.graph.node] == ["Neg"]
    check_equal(before, after)


def replaced(model: onnx.ModelProto) -> onnx.ModelProto:
    after = ir.serde.deserialize_model(model)
    replace_costly_nodes(after)
    return ir.serde.serialize_model(after)


def check_equal(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    dice = np.random.default_rng(1)
    rows = {value.name: dice.normal(size=(1, 4, WIDTH)).astype(np.float32) for value in before.graph.input}
    expected, got = (session_of(one.SerializeToString()).run(None, rows) for one in (before, after))
    for left, right in zip(expected, got, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
