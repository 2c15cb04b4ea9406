"""The selection as one operator, `vlmprune::select`, that the Core ML converter finds whole in a captured pruner."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from vlmprune_export.pruners import Pruner, VlmPrunerSettings
from vlmprune_export.pruners.grid import Grid
from vlmprune_export.pruners.selection import Selection
from vlmprune_export.pruners.vlm_pruner import VlmPruner

NAME = "vlmprune::select"


@torch.library.custom_op(NAME, mutates_args=())
def select(
    unit: Tensor,
    pivots: Tensor,
    grid: list[int],
    keep: int,
    batch: int,
    distance_weight: float,
    threshold: float,
    threshold_step: float,
    unrolled: bool,
) -> Tensor:
    """(N, q), (P,) -> (K,): `Selection` of the pruner of that grid (height, width) and those settings."""
    height, width = grid
    settings = VlmPrunerSettings(
        batch=batch, distance_weight=distance_weight, threshold=threshold, threshold_step=threshold_step
    )
    chosen: Tensor = Selection(Grid(height, width), keep, settings, "while")(unit, pivots)
    return chosen.clone()


@select.register_fake
def _(
    unit: Tensor,
    pivots: Tensor,
    grid: list[int],
    keep: int,
    batch: int,
    distance_weight: float,
    threshold: float,
    threshold_step: float,
    unrolled: bool,
) -> Tensor:
    return pivots.new_empty(keep)


@contextmanager
def selecting_at_once(pruner: Pruner, *, unrolled: bool) -> Iterator[None]:
    """Within, a VLM-Pruner calls the operator instead of writing the selection out."""
    if not isinstance(pruner, VlmPruner):
        yield
        return
    settings, keep = pruner.settings, pruner.keep
    grid = pruner.grid.shape
    batch = min(settings.batch, grid[0] * grid[1])

    def composite(unit: Tensor, pivots: Tensor) -> Tensor:
        numbers = (settings.distance_weight, settings.threshold, settings.threshold_step)
        chosen: Tensor = select(unit, pivots, list(grid), keep, batch, *map(float, numbers), unrolled)
        return chosen

    pruner.select = composite
    try:
        yield
    finally:
        pruner.select = None
