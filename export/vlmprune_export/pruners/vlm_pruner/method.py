"""The module of VLM-Pruner, which runs the three stages of the method on the tokens of one image."""

from torch import Tensor

from vlmprune_export.pruners.grid import Grid
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import stable_argsort
from vlmprune_export.pruners.unit_vectors import all_similarities, unit_vectors
from vlmprune_export.pruners.vlm_pruner.aggregation import aggregate, similarities
from vlmprune_export.pruners.vlm_pruner.pivots import pick_pivots
from vlmprune_export.pruners.vlm_pruner.selection import Selection
from vlmprune_export.pruners.vlm_pruner.settings import VlmPrunerSettings


class VlmPruner(Pruner):
    """Keeps exactly `keep` of the tokens of one image; all arithmetic but that of the returned rows is in fp32.

    Non-finite input still gives distinct indices, but rows of `fused` may then be non-finite as well.
    """

    def __init__(self, site: Site, settings: VlmPrunerSettings) -> None:
        super().__init__()
        self.grid = Grid(*site.grid)
        self.keep = site.keep
        self.settings = settings

    def forward(self, hidden: Tensor, keys: Tensor) -> Pruned:  # (N, D), (N, Dk) -> (K,), (K, D), (K,)
        """Returns the kept indices in ascending order, their aggregated rows of `hidden`, and the rank of each."""
        if self.grid.tokens <= self.keep:
            return keep_all(hidden)
        unit = unit_vectors(hidden, self.settings.channels, self.control_flow)
        pairs = all_similarities(unit, self.control_flow)
        pivots = pick_pivots(keys, min(self.settings.pivots, self.keep), self.control_flow)
        selected = Selection(self.grid, self.keep, self.settings, self.control_flow)(unit, pivots, pairs)
        rank = stable_argsort(selected, self.control_flow)
        kept = selected.index_select(0, rank)
        if not self.settings.aggregate:
            return kept, hidden.index_select(0, kept), rank
        fused = aggregate(hidden.float(), similarities(unit, kept, pairs), kept, self.settings.beta)
        return kept, fused.to(hidden.dtype), rank
