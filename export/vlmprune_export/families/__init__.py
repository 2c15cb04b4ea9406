"""Model families, one file each: a family says where a model's parts are, not how they compute."""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from vlmprune_export.families.family import DecoderTraits, Family, ImageGrid, LayerKind
from vlmprune_export.families.llava import LlavaFamily
from vlmprune_export.families.qwen2_5_vl import Qwen25VlFamily
from vlmprune_export.families.smolvlm import SmolVlmFamily
from vlmprune_export.settings_errors import settings_of
from vlmprune_runtime.errors import BadRequest, UnknownName

__all__ = ["ANY_GRIDS", "FAMILIES", "DecoderTraits", "Family", "ImageGrid", "LayerKind", "build_family"]

FAMILIES: Mapping[str, Callable[..., Family]] = {
    "idefics3": SmolVlmFamily,
    "llava": LlavaFamily,
    "qwen2_5_vl": Qwen25VlFamily,
    "smolvlm": SmolVlmFamily,
}
ANY_GRIDS = ("qwen2_5_vl",)
"""Families whose tower takes any grid; they are built with those that are chosen."""


def build_family(model: nn.Module, grids: Sequence[tuple[int, int]] = ()) -> Family:
    """Returns the family of a loaded model, chosen by its `config.model_type`. Raises `UnknownName`.

    `grids` (height, width), in visual tokens, are those that images are resized to, none standing for the family's
    own. Raises `BadRequest` if the tower takes others only, and for a config whose numbers fit no model.
    """
    with settings_of("config.json"):
        return _built(model, grids)


def _built(model: nn.Module, grids: Sequence[tuple[int, int]]) -> Family:
    model_type = str(model.config.model_type)  # type: ignore[union-attr]
    if model_type not in FAMILIES:
        raise UnknownName("model type", model_type, FAMILIES)
    if grids and model_type in ANY_GRIDS:
        return FAMILIES[model_type](model, grids)
    family = FAMILIES[model_type](model)
    if grids and isinstance(family, LlavaFamily) and grids[0] == (family.grids[0].height, family.grids[0].width):
        return LlavaFamily(model, grids[1:])  # type: ignore[arg-type]
    own = [(grid.height, grid.width) for grid in family.grids]
    if grids and list(grids) != own:
        raise BadRequest(f"grids: got {shown_grids(grids)}; the tower of {model_type} takes {shown_grids(own)} only")
    return family


def shown_grids(grids: Sequence[tuple[int, int]]) -> str:
    """Returns grids as commands take them.

    >>> shown_grids([(16, 16), (16, 24)])
    '16x16,16x24'
    """
    return ",".join(f"{height}x{width}" for height, width in grids)
