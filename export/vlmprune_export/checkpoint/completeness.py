"""Checks that the weights of a checkpoint are those that its config describes."""

from collections.abc import Mapping
from typing import Any

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


def check_complete(name: str, info: Mapping[str, Any]) -> None:
    """Raises `BadRequest` for missing weights, sizes that differ from the config, or adapter weights within the base's.

    `info` is the loading info of transformers.
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


def _shape(sizes: Any) -> str:
    return " x ".join(str(size) for size in sizes)


def _entry(key: str) -> str:
    return next((f" ({entry})" for part, entry in _ENTRIES.items() if part in key), "")
