"""Checks the model type in a checkpoint's raw config.json, of which no code is run for that."""

from collections.abc import Mapping
from typing import Any

from vlmprune_export.families import FAMILIES
from vlmprune_runtime.errors import BadRequest, UnknownName

_CONVERTED = "use a converted checkpoint, such as those of llava-hf on the hub, or convert it with transformers"


def check_model_type(name: str, config: Mapping[str, Any]) -> None:
    """Raises `BadRequest` or `UnknownName` for a model type without a family, LLaVA's first format, and custom code."""
    if "mm_vision_tower" in config:
        architecture = str((config.get("architectures") or ["its architecture"])[0])
        raise BadRequest(
            f"{name!r} is in LLaVA's first format ({architecture[:60]}), whose vision tower lies apart "
            f"in {str(config['mm_vision_tower'])[:80]!r}; {_CONVERTED}"
        )
    model_type = str(config.get("model_type"))[:60]
    if model_type in FAMILIES:
        return
    if config.get("auto_map"):
        raise BadRequest(
            f"{name!r} is of model type {model_type!r}, which needs Python code of its own; code from a checkpoint is "
            f"never run; supported model types: {', '.join(sorted(FAMILIES))}"
        )
    raise UnknownName("model type", model_type, FAMILIES)
