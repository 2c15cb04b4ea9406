"""Products quantised one by one: what ONNX Runtime computes with them, and what is stored."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from sessions import session_of
from vlmprune_export.backends.onnx.external_data import per_row_int8, take_weights
from vlmprune_export.backends.onnx.quantise import FITTED, quantise
from vlmprune_export.gptq import gptq_quantize


def quantised(weight: NDArray[np.float32], kind: str, folder: Path) -> onnx.ModelProto:
    """A graph rows (n, I) -> out (n, O) with one product with the weight (I, O), quantised and read back."""
    inputs, outputs = weight.shape
    rows = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ["n", inputs])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["n", outputs])
    matrix = onnx.numpy_helper.from_array(np.ascontiguousarray(weight), "matrix")
    product = onnx.helper.make_node("MatMul", ["rows", "matrix"], ["out"])
    graph = onnx.helper.make_graph([product], "g", [rows], [out], [matrix])
    model = ir.from_proto(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    )
    weights, lines = take_weights(model), list[str]()
    quantise(ir.to_proto(model), weights, folder / "small.onnx", kind, lines.append)
    assert lines == ["quantising matrix 1 of 1"]
    return onnx.load(str(folder / "small.onnx"))


def test_fitted_weights_are_stored_without_loss(tmp_path: Path) -> None:
    inputs = torch.randn(400, 64)
    weight = gptq_quantize(torch.randn(48, 64) + 0.2, inputs.t() @ inputs, FITTED["int4"]).numpy()
    small = quantised(weight.T, "int4", tmp_path)
    assert [node.op_type for node in small.graph.node] == ["MatMulNBits"]
    [found] = session_of(small.SerializeToString()).run(None, {"rows": np.eye(64, dtype=np.float32)})
    np.testing.assert_allclose(found, weight.T, atol=1e-5)


def test_an_8_bit_product_is_off_by_half_a_step_of_each_column_and_row(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    weight = (generator.normal(size=(64, 48)) * generator.uniform(0.1, 10, 48)).astype(np.float32)
    rows = (generator.normal(size=(9, 64)) * 10.0 ** np.arange(9)[:, None]).astype(np.float32)
    small = quantised(weight, "int8", tmp_path)
    assert "MatMulInteger" in [node.op_type for node in small.graph.node]
    assert max(tensor.data_type for tensor in small.graph.initializer if len(tensor.dims) == 2) == onnx.TensorProto.INT8
    [found] = session_of(small.SerializeToString()).run(None, {"rows": rows})
    expected = rows @ weight
    relative = np.sqrt(((found - expected) ** 2).mean(1) / (expected**2).mean(1))
    assert relative.max() < 0.02


def test_rows_of_a_large_table_are_quantised_alike_in_every_part() -> None:
    weight = np.random.default_rng(0).normal(size=(2500, 3)).astype(np.float32)
    quantised_rows, scale = per_row_int8(weight)
    assert np.abs(quantised_rows).max(1).min() == 127
    np.testing.assert_allclose(quantised_rows * scale, weight, atol=float(scale.max()) / 2 * 1.001)
