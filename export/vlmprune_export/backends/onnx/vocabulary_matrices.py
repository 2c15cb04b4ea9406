"""Stores the two matrices of the vocabulary: the embedding table and the language-model head.

They are often one matrix (tied). It is stored once, (V, D), in `embed.onnx.data`: `embed` gathers rows of it and
the last stage multiplies by its transpose. In quantised bundles it is 8-bit with one scale per row in both.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import nn

from vlmprune_export.backends.onnx.external_data import (
    TensorLocation,
    append_array,
    per_row_int8,
    save_with_initializers,
)

OPSET = 21
_FLOAT, _INT64 = TensorProto.FLOAT, TensorProto.INT64


@dataclass(frozen=True)
class Matrix:
    """A (V, D) matrix in a data file; `scale` (V, 1) when the rows are 8-bit."""

    rows: TensorLocation
    scale: TensorLocation | None = None


def store_matrix(path: Path, weight: NDArray[np.float32], *, quantised: bool) -> Matrix:
    """Appends a (V, D) matrix to a data file, as it is or with 8-bit rows."""
    if not quantised:
        return Matrix(append_array(path, weight))
    rows, scale = per_row_int8(weight)
    return Matrix(append_array(path, rows), append_array(path, scale))


def embedding_weight(stage: nn.Module) -> torch.Tensor | None:
    """Returns the table (V, D) of a stage's only embedding, None if it has none or several."""
    tables = [module.weight for module in stage.modules() if isinstance(module, nn.Embedding)]
    return tables[0] if len(tables) == 1 else None


def take_table(model: ir.Model, weight: torch.Tensor) -> str | None:
    """Turns the initializer of that shape into an input of the graph, and returns its name; None if there is none."""
    graph = model.graph
    for name, value in list(graph.initializers.items()):
        if value.shape is not None and tuple(value.shape) == tuple(weight.shape):
            del graph.initializers[name]
            value.const_value = None
            graph.inputs.append(value)
            return name
    return None


def save_embed(model: ir.Model, path: Path, table: str, matrix: Matrix) -> None:
    """Saves a graph that gathers rows of `table`, which lies elsewhere; 8-bit rows are scaled as they are gathered."""
    proto = ir.serde.serialize_model(model)
    stored = {table: matrix.rows}
    if matrix.scale:
        stored[f"{table}_scale"] = matrix.scale
        nodes = [new for node in proto.graph.node for new in _scaled_gather(node, table)]
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
    save_with_initializers(proto, path, stored)


def _scaled_gather(node: onnx.NodeProto, table: str) -> list[onnx.NodeProto]:
    """Replaces a node that gathers rows of the table by nodes that gather 8-bit rows and their scales."""
    if node.op_type != "Gather" or node.input[0] != table:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        return [copy]
    ids, rows = node.input[1], node.output[0]
    return [
        helper.make_node("Gather", [table, ids], [f"{rows}_int8"]),
        helper.make_node("Gather", [f"{table}_scale", ids], [f"{rows}_scale"]),
        helper.make_node("Cast", [f"{rows}_int8"], [f"{rows}_wide"], to=_FLOAT),
        helper.make_node("Mul", [f"{rows}_wide", f"{rows}_scale"], [rows]),
    ]


def attach_language_model_head(path: Path, hidden: str, matrix: Matrix, cap: float | None) -> None:
    """Adds hidden (D,) -> logits (V,) to the graph at `path`, reading the matrix where it lies.

    With a cap c the logits are c * tanh(logits / c).
    """
    logits = "logits"
    model = onnx.load(str(path), load_external_data=False)
    vocabulary = matrix.rows.shape[0]
    row = helper.make_node("Unsqueeze", [hidden, "lm_axis"], ["lm_hidden"])
    flat = [helper.make_node("Squeeze", ["lm_row", "lm_axis"], [logits if cap is None else "lm_flat"])]
    if cap is not None:
        flat += _capped("lm_flat", logits)
        model.graph.initializer.append(helper.make_tensor("lm_cap", _FLOAT, [], [cap]))
    product = _dense() if matrix.scale is None else _dense_int8()
    model.graph.node.extend([row, *product, *flat])
    model.graph.initializer.append(helper.make_tensor("lm_axis", _INT64, [1], [0]))
    outputs = [value for value in model.graph.output if value.name != hidden]
    del model.graph.output[:]
    model.graph.output.extend([helper.make_tensor_value_info(logits, _FLOAT, [vocabulary]), *outputs])
    stored = {"lm_head": matrix.rows} | ({"lm_head_scale": matrix.scale} if matrix.scale else {})
    save_with_initializers(model, path, stored)


def _capped(logits: str, capped: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Div", [logits, "lm_cap"], ["lm_small"]),
        helper.make_node("Tanh", ["lm_small"], ["lm_tanh"]),
        helper.make_node("Mul", ["lm_tanh", "lm_cap"], [capped]),
    ]


def _dense() -> list[onnx.NodeProto]:
    return [helper.make_node("Gemm", ["lm_hidden", "lm_head"], ["lm_row"], transB=1)]


def _dense_int8() -> list[onnx.NodeProto]:
    """Multiplies 8-bit activations (per tensor, at run time) by 8-bit rows.

    ONNX Runtime folds the transposes when it loads the graph.
    """
    return [
        helper.make_node("DynamicQuantizeLinear", ["lm_hidden"], ["lm_q", "lm_q_scale", "lm_q_zero"]),
        helper.make_node("Transpose", ["lm_head"], ["lm_columns"], perm=[1, 0]),
        helper.make_node("Transpose", ["lm_head_scale"], ["lm_column_scale"], perm=[1, 0]),
        helper.make_node("MatMulInteger", ["lm_q", "lm_columns", "lm_q_zero"], ["lm_sum"]),
        helper.make_node("Cast", ["lm_sum"], ["lm_wide"], to=_FLOAT),
        helper.make_node("Mul", ["lm_wide", "lm_q_scale"], ["lm_scaled"]),
        helper.make_node("Mul", ["lm_scaled", "lm_column_scale"], ["lm_row"]),
    ]
