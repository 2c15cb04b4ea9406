"""VLM-Pruner (arXiv 2512.02700): centrifugal selection of exactly K visual tokens, without weights."""

import torch
from torch import Tensor

from vlmprune_export.pruners.aggregation import aggregate, similarities
from vlmprune_export.pruners.features import all_similarities, unit_features
from vlmprune_export.pruners.grid import Grid
from vlmprune_export.pruners.ordering import ascending
from vlmprune_export.pruners.pivots import pick_pivots
from vlmprune_export.pruners.pruner import Pruner
from vlmprune_export.pruners.selection import Selection
from vlmprune_export.pruners.settings import VlmPrunerSettings


class VlmPruner(Pruner):
    """Keeps `keep` of the tokens of one image; everything but the returned rows is computed in fp32.

    Non-finite input still gives distinct indices, but rows of `fused` may then be non-finite as well.
    """

    def __init__(self, grid: tuple[int, int], keep: int, settings: VlmPrunerSettings) -> None:
        """Grid (height, width)."""
        super().__init__()
        self.grid = Grid(*grid)
        self.keep = keep
        self.settings = settings

    def forward(
        self, hidden: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # (N, D), (N, Dk) -> (K,), (K, D), (K,)
        """Kept indices ascending, their rows of `hidden` aggregated, and the place each was chosen at."""
        if self.grid.tokens <= self.keep:
            everything = torch.arange(self.grid.tokens)
            return everything, hidden.clone(), everything.clone()
        unit = unit_features(hidden, self.settings.channels, self.loop)
        pairs = all_similarities(unit, self.loop)
        pivots = pick_pivots(keys, min(self.settings.pivots, self.keep), self.loop)
        chosen = Selection(self.grid, self.keep, self.settings, self.loop)(unit, pivots, pairs)
        order = ascending(chosen, self.loop)
        kept = chosen.index_select(0, order)
        if not self.settings.aggregate:
            return kept, hidden.index_select(0, kept), order
        fused = aggregate(hidden.float(), similarities(unit, kept, pairs), kept, self.settings.beta)
        return kept, fused.to(hidden.dtype), order
