"""The two ends of the vocabulary: the embedding table and the language-model head.

They are often one matrix (tied). It is stored once, (V, D), in `embed.onnx.data`: `embed` gathers rows of it and
`tail` multiplies by its transpose. In quantised bundles it is 8-bit with one scale per row in both.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vlmprune_export.backends.onnx.weights import Stored, append, per_row_int8, save_with_initializers

OPSET = 21
_FLOAT, _INT8, _INT64 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT64


@dataclass(frozen=True)
class Matrix:
    """A (V, D) matrix in a data file; `scale` (V, 1) when the rows are 8-bit."""

    rows: Stored
    scale: Stored | None = None


def store(path: Path, weight: NDArray[np.float32], *, quantised: bool) -> Matrix:
    """Append a (V, D) matrix to a data file, as it is or with 8-bit rows."""
    if not quantised:
        return Matrix(append(path, weight))
    rows, scale = per_row_int8(weight)
    return Matrix(append(path, rows), append(path, scale))


def write_embed(path: Path, matrix: Matrix) -> None:
    """The `embed` graph: token_ids (S,) -> embeddings (S, D)."""
    width = matrix.rows.shape[1]
    nodes = [helper.make_node("Gather", ["table", "token_ids"], ["rows" if matrix.scale else "embeddings"])]
    inputs = {"table": matrix.rows}
    if matrix.scale:
        inputs["scale"] = matrix.scale
        nodes += [
            helper.make_node("Gather", ["scale", "token_ids"], ["row_scale"]),
            helper.make_node("Cast", ["rows"], ["wide_rows"], to=_FLOAT),
            helper.make_node("Mul", ["wide_rows", "row_scale"], ["embeddings"]),
        ]
    graph = helper.make_graph(
        nodes,
        "embed",
        [
            helper.make_tensor_value_info("token_ids", _INT64, ["tokens"]),
            *(helper.make_tensor_value_info(name, place.element_type, place.shape) for name, place in inputs.items()),
        ],
        [helper.make_tensor_value_info("embeddings", _FLOAT, ["tokens", width])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    save_with_initializers(model, path, inputs)


def attach_language_model_head(path: Path, hidden: str, logits: str, matrix: Matrix) -> None:
    """Add hidden (D,) -> logits (V,) to the graph at `path`, reading the matrix where it lies."""
    model = onnx.load(str(path), load_external_data=False)
    vocabulary = matrix.rows.shape[0]
    row = helper.make_node("Unsqueeze", [hidden, "lm_axis"], ["lm_hidden"])
    flat = helper.make_node("Squeeze", ["lm_row", "lm_axis"], [logits])
    product = _dense() if matrix.scale is None else _dense_int8()
    model.graph.node.extend([row, *product, flat])
    model.graph.initializer.append(helper.make_tensor("lm_axis", _INT64, [1], [0]))
    outputs = [value for value in model.graph.output if value.name != hidden]
    del model.graph.output[:]
    model.graph.output.extend([helper.make_tensor_value_info(logits, _FLOAT, [vocabulary]), *outputs])
    stored = {"lm_head": matrix.rows} | ({"lm_head_scale": matrix.scale} if matrix.scale else {})
    save_with_initializers(model, path, stored)


def _dense() -> list[onnx.NodeProto]:
    return [helper.make_node("Gemm", ["lm_hidden", "lm_head"], ["lm_row"], transB=1)]


def _dense_int8() -> list[onnx.NodeProto]:
    """8-bit activations (per tensor, at run time) times 8-bit rows; ONNX Runtime folds the transposes when it loads."""
    return [
        helper.make_node("DynamicQuantizeLinear", ["lm_hidden"], ["lm_q", "lm_q_scale", "lm_q_zero"]),
        helper.make_node("Transpose", ["lm_head"], ["lm_columns"], perm=[1, 0]),
        helper.make_node("Transpose", ["lm_head_scale"], ["lm_column_scale"], perm=[1, 0]),
        helper.make_node("MatMulInteger", ["lm_q", "lm_columns", "lm_q_zero"], ["lm_sum"]),
        helper.make_node("Cast", ["lm_sum"], ["lm_wide"], to=_FLOAT),
        helper.make_node("Mul", ["lm_wide", "lm_q_scale"], ["lm_scaled"]),
        helper.make_node("Mul", ["lm_scaled", "lm_column_scale"], ["lm_row"]),
    ]
