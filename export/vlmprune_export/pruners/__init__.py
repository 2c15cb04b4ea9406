"""Pruners: modules without weights that choose which visual tokens of one image stay.

A new pruner is one file and one line in `PRUNERS`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vlmprune_export.pruners.grid import LARGEST_SIDE
from vlmprune_export.pruners.loops import LOOP_FORMS, LoopForm
from vlmprune_export.pruners.pruner import Pruner
from vlmprune_export.pruners.settings import VlmPrunerSettings, check_integer, read_settings
from vlmprune_export.pruners.uniform_grid import GridSettings, grid_pruner
from vlmprune_export.pruners.uniform_random import RandomSettings, random_pruner
from vlmprune_export.pruners.vlm_pruner import VlmPruner
from vlmprune_runtime.errors import BadRequest, UnknownName

__all__ = ["LOOP_FORMS", "PRUNERS", "LoopForm", "Pruner", "PrunerKind", "VlmPrunerSettings", "build_pruner"]


class PrunerKind(NamedTuple):
    """A pruner's settings, and the module built from grid, keep and settings."""

    settings: type[Any]
    module: Callable[[tuple[int, int], int, Any], Pruner]


PRUNERS = {
    "vlm-pruner": PrunerKind(VlmPrunerSettings, VlmPruner),
    "random": PrunerKind(RandomSettings, random_pruner),
    "grid": PrunerKind(GridSettings, grid_pruner),
}


def build_pruner(
    method: str,
    *,
    grid: tuple[int, int],
    keep: int,
    settings: Mapping[str, Any] | None = None,
    loop: LoopForm = "while",
) -> Pruner:
    """The pruner of that name for a grid of (height, width) tokens of which `keep` stay.

    Raises `UnknownName` for a method or a loop form, `BadRequest` for anything else that cannot be met.
    """
    if method not in PRUNERS:
        raise UnknownName("pruner", method, PRUNERS)
    if loop not in LOOP_FORMS:
        raise UnknownName("loop form", loop, LOOP_FORMS)
    kind = PRUNERS[method]
    check_grid(grid)
    check_integer("keep", keep, 1, LARGEST_SIDE**2)
    pruner = kind.module(grid, keep, read_settings(kind.settings, method, settings or {}))
    pruner.loop = loop
    return pruner


def check_grid(grid: tuple[int, int]) -> None:
    """Refuse anything but a pair of sides from 1 to `LARGEST_SIDE`."""
    if not isinstance(grid, tuple | list) or len(grid) != 2:
        raise BadRequest(f"grid is {grid!r}; allowed: a pair (height, width)")
    check_integer("grid height", grid[0], 1, LARGEST_SIDE)
    check_integer("grid width", grid[1], 1, LARGEST_SIDE)
