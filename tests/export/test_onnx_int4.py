"""Fitted weights, found again by ONNX Runtime's own quantiser."""

from pathlib import Path

import numpy as np
import onnx
import torch

from sessions import session_of
from vlmprune_export.backends.onnx.quantise import FITTED, quantise
from vlmprune_export.gptq import gptq_quantize


def test_fitted_weights_are_stored_without_loss(tmp_path: Path) -> None:
    inputs = torch.randn(400, 64)
    weight = gptq_quantize(torch.randn(48, 64) + 0.2, inputs.t() @ inputs, FITTED["int4"]).numpy()
    rows = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ["n", 64])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["n", 48])
    matrix = onnx.numpy_helper.from_array(np.ascontiguousarray(weight.T), "matrix")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["rows", "matrix"], ["out"])], "g", [rows], [out], [matrix]
    )
    onnx.save_model(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10),
        str(tmp_path / "plain.onnx"),
    )
    quantise(tmp_path / "plain.onnx", tmp_path / "small.onnx", "int4")
    small = onnx.load(str(tmp_path / "small.onnx"))
    assert [node.op_type for node in small.graph.node] == ["MatMulNBits"]
    [found] = session_of(small.SerializeToString()).run(None, {"rows": np.eye(64, dtype=np.float32)})
    np.testing.assert_allclose(found, weight.T, atol=1e-5)
