"""The vision tower's attention in quantised graphs: its weights are quantised too, and no mask of zeros is left."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from sessions import session_of
from tiny import TOWERS, tiny_llava
from vlmprune_export.backends.onnx.capture import capture
from vlmprune_export.backends.onnx.fused_attention import expose_products
from vlmprune_export.backends.onnx.lower import _translate, _write
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.progress import silent

WIDTH, HEADS, TOKENS = 32, 4, 9


@pytest.fixture(params=TOWERS)
def translated(request: pytest.FixtureRequest) -> ir.Model:
    """The fused graph of a tiny vision stage."""
    staged = StagedModel(build_family(tiny_llava("llama", request.param)), PruneOptions(keep=8))
    entry = staged.stages["vision"]
    return _translate(capture(entry, entry.module), silent)


def test_weights_are_joined_and_masks_of_zeros_gone_before_quantisation(translated: ir.Model) -> None:
    attentions = [node for node in translated.graph if node.op_type == "Attention"]
    assert attentions
    for node in attentions:
        weight = node.inputs[1]
        assert weight is not None and weight.is_initializer() and list(weight.shape or ()) == [WIDTH, 3 * WIDTH]
        assert not any(node.inputs[3:])


def test_all_matrix_products_of_a_quantised_tower_are_quantised(translated: ir.Model, tmp_path: Path) -> None:
    _write(translated, tmp_path / "vision.onnx", "int8", silent)
    graph = onnx.load(str(tmp_path / "vision.onnx")).graph
    operators = Counter(node.op_type for node in graph.node)
    layers = operators["MultiHeadAttention"]
    assert layers >= 2 and operators["MatMulInteger"] == 4 * layers + 2  # qkv, out, two of the MLP; the projector
    assert not operators["Attention"] and not operators["MatMul"]
    assert all(len(node.input) == 3 for node in graph.node if node.op_type == "MultiHeadAttention")  # no mask
    matrices = [tensor for tensor in graph.initializer if len(tensor.dims) == 2 and min(tensor.dims) >= WIDTH]
    assert matrices and all(tensor.data_type == TensorProto.INT8 for tensor in matrices)


def attention(*, mask: bool, **attributes: object) -> onnx.ModelProto:
    """One fused attention over (1, 9, 32) whose weights are constants."""
    dice = np.random.default_rng(0)
    arrays = {"weight": (WIDTH, 3 * WIDTH), "bias": (3 * WIDTH,), "mask": (1, 1, TOKENS, TOKENS)}
    constants = [numpy_helper.from_array(dice.normal(size=size).astype(np.float32), k) for k, size in arrays.items()]
    inputs = ["rows", "weight", "bias", *(["", "", "mask"] if mask else [])]
    node = helper.make_node("Attention", inputs, ["mixed"], "a", domain="com.microsoft", num_heads=HEADS, **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, TOKENS, WIDTH]) for name in ("rows", "mixed")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("attributes", [{}, {"scale": 0.7, "qkv_hidden_sizes": [WIDTH] * 3}, {"unidirectional": 1}])
def test_an_exposed_attention_gives_the_same(bias: bool, mask: bool, attributes: dict[str, object]) -> None:
    model = attention(mask=mask, **attributes)
    if not bias:  # ONNX Runtime runs no fused attention without one
        zeros = numpy_helper.from_array(np.zeros(3 * WIDTH, np.float32), "bias")
        next(tensor for tensor in model.graph.initializer if tensor.name == "bias").CopyFrom(zeros)
    rows = np.random.default_rng(1).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)
    [expected] = session_of(model.SerializeToString()).run(None, {"rows": rows})
    if not bias:
        model.graph.node[0].input[2] = ""
    expose_products(model)
    assert ("Add" in [node.op_type for node in model.graph.node]) == bias
    assert [node.op_type for node in model.graph.node][-2:] == ["Split", "MultiHeadAttention"]
    [measured] = session_of(model.SerializeToString()).run(None, {"rows": rows})
    np.testing.assert_allclose(measured, expected, atol=1e-4)


def test_an_attention_with_lengths_for_a_mask_stays() -> None:
    model = attention(mask=False)
    model.graph.node[0].input.append("lengths")
    expose_products(model)
    assert [node.op_type for node in model.graph.node] == ["Attention"]
