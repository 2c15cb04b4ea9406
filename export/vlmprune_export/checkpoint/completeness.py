"""Checks that the weights of a checkpoint are those that its config describes."""

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from vlmprune_export.checkpoint.file_checks import stored_shapes, weight_files
from vlmprune_runtime.errors import BadRequest

# Which entry of config.json gives a weight its size.
_ENTRIES = {
    "embed_tokens": "text_config.vocab_size or hidden_size",
    "lm_head": "text_config.vocab_size or hidden_size",
    "position_embedding": "vision_config.image_size or patch_size",
    "patch_embed": "vision_config.patch_size or hidden_size",
    "multi_modal_projector": "hidden_size of text_config or vision_config, or vision_feature_layer",
    "vision_tower": "vision_config",
    "language_model": "text_config",
}


_FLOATS = ("F64", "F32", "F16", "BF16")
_LAYER = re.compile(r".*\.(layers|layer|blocks)\.\d+\.")
MOST_DESCRIBED = 3  # files of an unknown dtype may hold twice the weights that their size suggests


def check_described_size(name: str, config: Any, weights: int) -> None:
    """Raises `BadRequest` if `config` describes a model of far more weights than the files hold.

    A config without `text_config` stands for a model of 7 billion weights, which transformers would fill in, and the
    kernel would end the process.
    """
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model: Any = AutoModelForImageTextToText.from_config(
            deepcopy(config), attn_implementation="sdpa", trust_remote_code=False
        )
    described = sum(weight.numel() for weight in model.parameters())
    if 0 < MOST_DESCRIBED * weights < described:
        raise BadRequest(
            f"{name!r}: config.json describes a model of {described:,} weights (are text_config and vision_config "
            f"complete?), the files hold about {weights:,}; config and weights are not of one checkpoint"
        )


def check_float_weights(name: str, folder: Path) -> None:
    """Raises `BadRequest` for weights of whole numbers or fp8, if the config names no format that says their scale."""
    for path in weight_files(folder):
        shapes = stored_shapes(path) if path.suffix == ".safetensors" else {}
        for key, (dtype, _) in shapes.items():
            if key.endswith(".weight") and dtype not in _FLOATS:
                raise BadRequest(
                    f"{name!r}: {key} is stored as {dtype}, and config.json names no quantisation "
                    f"(quantization_config) that gives it a scale; allowed: {', '.join(_FLOATS)}"
                )


def check_complete(name: str, info: Mapping[str, Any], weights: Iterable[str]) -> None:
    """Raises `BadRequest` for missing weights, sizes that differ from the config, and layers or adapters left over.

    `info` is the loading info of transformers, `weights` are the names of the model's own.
    """
    for key, stored, expected in sorted(info.get("mismatched_keys", ())):
        raise BadRequest(
            f"{name!r}: {key} is {_shape(stored)} in the weights but {_shape(expected)} by config.json{_entry(key)}; "
            "config and weights are not of one checkpoint"
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise BadRequest(f"{name!r} lacks {len(missing)} weights, {missing[0]!r} among them")
    adapter = sorted(key for key in info.get("unexpected_keys", ()) if "lora_" in key)
    if adapter:
        raise BadRequest(
            f"{name!r} holds {len(adapter)} weights of an adapter, {adapter[0]!r} among them; merge it first"
        )
    layers = {"", *map(_layer, weights)}
    further = sorted({_layer(key) for key in info.get("unexpected_keys", ())} - layers)
    if further:
        raise BadRequest(
            f"{name!r} holds {len(further)} layers that config.json does not describe (num_hidden_layers), "
            f"{further[0]!r} among them; config and weights are not of one checkpoint"
        )


def _layer(key: str) -> str:
    """Returns the part of a weight's name that names its layer, '' for a weight that belongs to none."""
    layer = _LAYER.match(key)
    return layer[0].rstrip(".") if layer else ""


def _shape(sizes: Any) -> str:
    return " x ".join(str(size) for size in sizes)


def _entry(key: str) -> str:
    return next((f" ({entry})" for part, entry in _ENTRIES.items() if part in key), "")
