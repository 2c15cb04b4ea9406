"""Reads a DINOv2 ViT-S/14 from an ONNX file: the weights of a HF `Dinov2Model` for 336 px."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

IMAGE_PX, PATCH_PX, GRID = 336, 14, 24
FEATURE_LAYERS = (4, 10)
LAYERS = max(FEATURE_LAYERS)  # nothing above the last layer that is read is kept

CONFIG: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "image_size": IMAGE_PX,
    "patch_size": PATCH_PX,
    "layerscale_value": 1.0,
    "use_mask_token": False,
}

MODEL_NAMES = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def tower_weights(onnx_file: Path, grid: int = GRID) -> dict[str, Tensor]:
    """Returns fp32 weights under the names of a HF `Dinov2Model` of `LAYERS` layers, positions at grid x grid."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(onnx_file)).graph
    stored = {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
    weights = {name.removeprefix("backbone."): value for name, value in stored.items() if name.startswith("backbone.")}
    for bias, matrix in biased_matrices(graph, stored):
        weights[bias.removeprefix("backbone.").removesuffix("bias") + "weight"] = stored[matrix].T.contiguous()
    weights["embeddings.position_embeddings"] = positions(stored, grid)
    return {model_name(name): value for name, value in weights.items() if wanted(name)}


def biased_matrices(graph: Any, stored: dict[str, Tensor]) -> list[tuple[str, str]]:
    """Returns pairs (named bias, anonymous matrix): the matrix is multiplied just before the bias is added."""
    maker = {output: node for node in graph.node for output in node.output}
    pairs = []
    for node in graph.node:
        biases = [name for name in node.input if name in stored and name.endswith(".bias")]
        products = [maker[name] for name in node.input if name in maker and maker[name].op_type == "MatMul"]
        if node.op_type == "Add" and biases and products:
            pairs.append((biases[0], next(name for name in products[0].input if name in stored)))
    return pairs


def positions(stored: dict[str, Tensor], grid: int) -> Tensor:  # -> (1, 1 + grid * grid, 384)
    """Returns the 37 x 37 position table interpolated once, as HF would do it for every image."""
    first, places = (
        next(value for name, value in stored.items() if name.startswith(kind) and value.shape[:2] == shape)
        for kind, shape in (("onnx::Concat_", (1, 1)), ("onnx::Reshape_", (1, 37 * 37)))
    )
    table = places.reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    table = interpolate(table, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([first, table.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], dim=1)


def wanted(name: str) -> bool:
    """Returns False for layers above the last one that is read.

    >>> wanted("encoder.layer.9.norm1.bias"), wanted("encoder.layer.10.norm1.bias")
    (True, False)
    """
    return not name.startswith("encoder.layer.") or int(name.split(".")[2]) < LAYERS


def model_name(name: str) -> str:
    """Returns the name in the installed transformers of a name in the file."""
    for old, new in MODEL_NAMES.items():
        name = name.replace(old, new)
    return name
