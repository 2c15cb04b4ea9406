"""PruMerge (arXiv 2403.15388) keeps what the tower's CLS token attends to, and adds to it what is like it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pruners.needs import HIDDEN, Need
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.settings import check_integer
from vlmprune_export.pruners.similarity import most_similar, products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest


@dataclass(frozen=True)
class PruMergeSettings:
    """Each kept token takes up its `neighbours` most similar tokens."""

    neighbours: int = 32

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        check_integer("neighbours", self.neighbours, 1, 4096)


class PruMerge(Pruner):
    """The form with a fixed number of tokens: K - 1 centres, and a last token that gathers all others.

    The last token stands at the first place behind the last centre that is free, or else at the last free place.
    """

    needs = (HIDDEN, Need("tower_hidden"), Need("tower_last_attention"), Need("tower_last_keys"))

    def __init__(self, site: Site, settings: PruMergeSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.projector = site.parts.projector

    def forward(  # (N, D), (N, Dt), (N,), (N, Dh) -> (K,), (K, D), (K,)
        self, hidden: Tensor, tower_hidden: Tensor, attention: Tensor, keys: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, the rows merged before the projector, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        rows = tower_hidden.float()
        ranked = largest(attention, self.tokens, self.control_flow)
        centres, others = ranked[: self.keep - 1], ranked[self.keep - 1 :]
        weighted = attention.float().clamp(0.0, 1.0)[:, None] * rows
        rest = torch.zeros(self.tokens).index_fill(0, others, 1.0)
        merged = [products(rest[None], weighted.mT)]
        if self.keep > 1:
            merged.insert(0, rows.index_select(0, centres) + products(self.neighbours(keys, centres), weighted.mT))
        place = torch.where(rest > 0, torch.arange(self.tokens), -1).amax(0, keepdim=True)
        kept, rank = in_image_order(torch.cat([centres, place]), self.control_flow)
        fused = self.projector(torch.cat(merged).to(tower_hidden.dtype)).to(hidden.dtype)
        return kept, fused.index_select(0, rank), rank

    def neighbours(self, keys: Tensor, centres: Tensor) -> Tensor:  # (N, C), (K - 1,) -> (K - 1, N)
        """Returns ones at the tokens most similar to each centre, itself left out."""
        unit = unit_rows(keys, self.control_flow)
        similar = products(unit.index_select(0, centres), unit).scatter(1, centres[:, None], -9.0)
        count = min(self.settings.neighbours, self.tokens - 1)
        return most_similar(similar, count, self.control_flow)
