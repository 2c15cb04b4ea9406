"""Pruners: modules without weights that choose which visual tokens of one image stay.

A new pruner is a file, or a folder where it needs several, and one line in `PRUNERS`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vlmprune_export.pruners.cdpruner import CdPruner, CdPrunerEmbed, CdPrunerEmbedSettings
from vlmprune_export.pruners.dart import Dart, DartSettings
from vlmprune_export.pruners.divprune import DivPrune
from vlmprune_export.pruners.duet_vlm import DuetSettings, duet_layer, duet_places, duet_pruner
from vlmprune_export.pruners.fastv import FastV
from vlmprune_export.pruners.grid import LARGEST_SIDE
from vlmprune_export.pruners.loops import CONTROL_FLOWS, ControlFlow
from vlmprune_export.pruners.mmtok import MmTok, MmTokSettings
from vlmprune_export.pruners.needs import CutPlace, Need, Place, place_after_vision, place_at_input, place_of_layer
from vlmprune_export.pruners.nuwa import NuwaSettings, nuwa_layer, nuwa_places, nuwa_pruner
from vlmprune_export.pruners.occam_token import OccamSettings, occam_layer, occam_places, occam_pruner
from vlmprune_export.pruners.prumerge import PruMerge, PruMergeSettings
from vlmprune_export.pruners.pruner import Pruner
from vlmprune_export.pruners.random_pruner import RandomSettings, random_pruner
from vlmprune_export.pruners.saint import SaintSettings, saint_layer, saint_places, saint_pruner
from vlmprune_export.pruners.settings import NoSettings, check_integer, read_settings
from vlmprune_export.pruners.site import ModelParts, Site
from vlmprune_export.pruners.sparsevlm import SparseVlm, SparseVlmSettings
from vlmprune_export.pruners.uniform import UniformSettings, uniform_places, uniform_pruner
from vlmprune_export.pruners.visionzip import VisionZip, VisionZipSettings
from vlmprune_export.pruners.vlm_pruner import VlmPruner, VlmPrunerSettings
from vlmprune_runtime.errors import BadRequest, UnknownName

__all__ = [
    "CONTROL_FLOWS",
    "PRUNERS",
    "ControlFlow",
    "ModelParts",
    "Need",
    "Place",
    "Pruner",
    "PrunerKind",
    "Site",
    "VlmPrunerSettings",
    "build_pruner",
    "pruner_kind",
    "pruner_name",
]


def second_layer(layers: int) -> int:
    """Returns layer 2, the choice of VLM-Pruner's paper, or the last layer of a smaller model."""
    return min(2, layers - 1)


class PrunerKind(NamedTuple):
    """A pruning method: its settings, the module of a cut, built from site and settings, and where it cuts.

    `places` takes the settings and the decoder layer, and returns the places of the cuts. `layer` takes the number of
    decoder layers, and returns the layer before which the method cuts unless another is requested.
    """

    settings: type[Any]
    module: Callable[[Site, Any], Pruner]
    places: Callable[[Any, int], tuple[Place, ...]] = place_of_layer
    layer: Callable[[int], int] = second_layer


PRUNERS = {
    "vlm-pruner": PrunerKind(VlmPrunerSettings, VlmPruner),
    "duet-vlm": PrunerKind(DuetSettings, duet_pruner, duet_places, duet_layer),
    "occam-token": PrunerKind(OccamSettings, occam_pruner, occam_places, occam_layer),
    "saint": PrunerKind(SaintSettings, saint_pruner, saint_places, saint_layer),
    "nuwa": PrunerKind(NuwaSettings, nuwa_pruner, nuwa_places, nuwa_layer),
    "fastv": PrunerKind(NoSettings, FastV),
    "divprune": PrunerKind(NoSettings, DivPrune, place_at_input),
    "dart": PrunerKind(DartSettings, Dart),
    "visionzip": PrunerKind(VisionZipSettings, VisionZip, place_after_vision),
    "sparsevlm": PrunerKind(SparseVlmSettings, SparseVlm),
    "cdpruner": PrunerKind(NoSettings, CdPruner, place_at_input),
    "cdpruner-embed": PrunerKind(CdPrunerEmbedSettings, CdPrunerEmbed, place_at_input),
    "mmtok": PrunerKind(MmTokSettings, MmTok, place_at_input),
    "prumerge": PrunerKind(PruMergeSettings, PruMerge, place_after_vision),
    "random": PrunerKind(RandomSettings, random_pruner),
    "uniform": PrunerKind(UniformSettings, uniform_pruner, uniform_places),
}
OLD_NAMES = {"grid": "uniform"}
"""Former names of methods, which are still accepted."""


def build_pruner(
    method: str,
    *,
    grid: tuple[int, int],
    keep: int,
    settings: Mapping[str, Any] | None = None,
    control_flow: ControlFlow = "while",
    at: CutPlace = "layer",
    parts: ModelParts | None = None,
) -> Pruner:
    """Returns the pruner of that name for a grid of (height, width) tokens of which `keep` stay.

    `at` tells the cuts of a method with several apart, and `parts` are those of the model around it.

    Raises `UnknownName` for a method or a control flow, `BadRequest` for a grid, a number or a setting out of range.
    """
    kind = pruner_kind(method)
    if control_flow not in CONTROL_FLOWS:
        raise UnknownName("control flow", control_flow, CONTROL_FLOWS)
    check_grid(grid)
    check_integer("keep", keep, 1, LARGEST_SIDE**2)
    site = Site((grid[0], grid[1]), keep, at, parts or ModelParts())
    pruner = kind.module(site, read_settings(kind.settings, method, settings or {}))
    pruner.control_flow = control_flow
    return pruner


def pruner_kind(method: str) -> PrunerKind:
    """Returns the pruning method of that name. Raises `UnknownName` if there is none."""
    name = pruner_name(method)
    if name not in PRUNERS:
        raise UnknownName("pruner", method, PRUNERS)
    return PRUNERS[name]


def pruner_name(method: str) -> str:
    """Returns the present name of a method that may be given by a former name.

    >>> pruner_name("grid")
    'uniform'
    """
    return OLD_NAMES.get(method, method)


def check_grid(grid: tuple[int, int]) -> None:
    """Raises `BadRequest` unless the grid is a pair of sides from 1 to `LARGEST_SIDE`."""
    if not isinstance(grid, tuple | list) or len(grid) != 2:
        raise BadRequest(f"grid is {grid!r}; allowed: a pair (height, width)")
    check_integer("grid height", grid[0], 1, LARGEST_SIDE)
    check_integer("grid width", grid[1], 1, LARGEST_SIDE)
