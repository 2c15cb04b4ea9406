"""The vision tower's attention in quantised graphs: its weights are quantised too, and no mask of zeros is left."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_bundles import exported

from sessions import session_of
from tiny import TOWERS, write_checkpoint
from vlmprune_export.backends.onnx.attention import expose_products

WIDTH, HEADS, TOKENS = 32, 4, 9


@pytest.mark.parametrize("tower", TOWERS)
def test_all_matrix_products_of_a_quantised_tower_are_quantised(tower: str, tmp_path: Path) -> None:
    made = exported(write_checkpoint(tmp_path / "model", "llama", tower), tmp_path / "bundle", quantisation="int8")
    graph = onnx.load(str(made / "vision.onnx")).graph
    operators = Counter(node.op_type for node in graph.node)
    layers = operators["MultiHeadAttention"]
    assert layers >= 2 and operators["MatMulInteger"] == 4 * layers + 2  # qkv, out, two of the MLP; the projector
    assert not operators["Attention"] and not operators["MatMul"]
    assert all(len(node.input) == 3 for node in graph.node if node.op_type == "MultiHeadAttention")  # no mask
    convolved = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    matrices = [tensor for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.name not in convolved]
    assert all(tensor.data_type == TensorProto.INT8 for tensor in matrices if min(tensor.dims) >= WIDTH)


@pytest.mark.parametrize("tower", TOWERS)
def test_joined_weights_are_stored_as_one_tensor(tower: str, tmp_path: Path) -> None:
    made = exported(write_checkpoint(tmp_path / "model", "llama", tower), tmp_path / "bundle")
    graph = onnx.load(str(made / "vision.onnx"), load_external_data=False).graph
    stored = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    attentions = [node for node in graph.node if node.op_type == "Attention"]
    assert [stored[node.input[1]] for node in attentions] == [[WIDTH, 3 * WIDTH]] * len(attentions)
    assert attentions and not any(any(node.input[3:]) for node in attentions)


def attention(*, bias: bool, mask: bool, **attributes: object) -> onnx.ModelProto:
    """One fused attention over (1, 9, 32) whose weights are constants."""
    dice = np.random.default_rng(0)
    arrays = {"weight": (WIDTH, 3 * WIDTH), "bias": (3 * WIDTH,), "mask": (1, 1, TOKENS, TOKENS)}
    constants = [numpy_helper.from_array(dice.normal(size=size).astype(np.float32), k) for k, size in arrays.items()]
    inputs = ["rows", "weight", "bias" if bias else "", *(["", "", "mask"] if mask else [])]
    node = helper.make_node("Attention", inputs, ["mixed"], "a", domain="com.microsoft", num_heads=HEADS, **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, TOKENS, WIDTH]) for name in ("rows", "mixed")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("attributes", [{}, {"scale": 0.7, "qkv_hidden_sizes": [WIDTH] * 3}, {"unidirectional": 1}])
def test_an_exposed_attention_gives_the_same(bias: bool, mask: bool, attributes: dict[str, object]) -> None:
    model = attention(bias=bias, mask=mask, **attributes)
    rows = np.random.default_rng(1).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)
    [expected] = session_of(model.SerializeToString()).run(None, {"rows": rows})
    expose_products(model)
    assert [node.op_type for node in model.graph.node][-2:] == ["Split", "MultiHeadAttention"]
    [measured] = session_of(model.SerializeToString()).run(None, {"rows": rows})
    np.testing.assert_allclose(measured, expected, atol=1e-4)


def test_an_attention_with_lengths_for_a_mask_stays() -> None:
    model = attention(bias=True, mask=False)
    model.graph.node[0].input.append("lengths")
    expose_products(model)
    assert [node.op_type for node in model.graph.node] == ["Attention"]
