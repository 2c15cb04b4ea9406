"""One file per model family; a family says where its parts are, not how they compute."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from vlmprune_export.families.family import Family, LayerKind, PictureGrid
from vlmprune_export.families.llava import LlavaFamily
from vlmprune_runtime.errors import UnknownName

__all__ = ["FAMILIES", "Family", "LayerKind", "PictureGrid", "build_family"]

FAMILIES: Mapping[str, Callable[[Any], Family]] = {"llava": LlavaFamily}


def build_family(model: nn.Module) -> Family:
    """Returns the family of a loaded model, chosen by its `config.model_type`. Raises `UnknownName`."""
    model_type = str(model.config.model_type)  # type: ignore[union-attr]
    if model_type not in FAMILIES:
        raise UnknownName("model type", model_type, FAMILIES)
    return FAMILIES[model_type](model)
