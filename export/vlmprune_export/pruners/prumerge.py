"""PruMerge (arXiv 2403.15388) keeps what the tower's CLS token attends to, and adds to it what is like it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pruners.needs import HIDDEN, Need
from vlmprune_export.pruners.pruner import COUNTED, KEPT, Pruned, Pruner, keep_all
from vlmprune_export.pruners.settings import check_boolean, check_integer
from vlmprune_export.pruners.similarity import most_similar, products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest


@dataclass(frozen=True)
class PruMergeSettings:
    """Each kept token takes up its `neighbours` most similar tokens.

    With `adaptive` K is the most tokens that stay, as in the paper: a token is a centre if it is also an outlier.
    """

    neighbours: int = 32
    adaptive: bool = False

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        check_integer("neighbours", self.neighbours, 1, 4096)
        check_boolean("adaptive", self.adaptive)


class PruMerge(Pruner):
    """Keeps centres and a last token that gathers all others: K - 1 centres, or the outliers among these.

    The last token stands at the first place behind the last centre that is free, or else at the last free place.
    """

    needs = (HIDDEN, Need("tower_hidden"), Need("tower_last_attention"), Need("tower_last_keys"))
    uses_modules = True

    def __init__(self, site: Site, settings: PruMergeSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.projector = site.parts.projector
        if settings.adaptive and self.tokens > self.keep:
            self.outputs = COUNTED

    def forward(  # (N, D), (N, Dt), (N,), (N, Dh) -> (K,), (K, D), (K,)
        self, hidden: Tensor, tower_hidden: Tensor, attention: Tensor, keys: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, the rows merged before the projector, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        rows = tower_hidden.float()
        ranked = largest(attention, self.tokens, self.control_flow)
        centres, order = ranked[: self.keep - 1], torch.arange(self.tokens)
        weighted = attention.float().clamp(0.0, 1.0)[:, None] * rows
        count = self.centre_count(attention.float().index_select(0, ranked))
        rest = torch.zeros(self.tokens).scatter(0, ranked, (order >= count).float())
        merged = [products(rest[None], weighted.mT)]
        if self.keep > 1:
            merged.insert(0, rows.index_select(0, centres) + products(self.neighbours(keys, centres), weighted.mT))
        place = torch.where(rest > 0, order, -1).amax(0, keepdim=True)
        fused = self.projector(torch.cat(merged).to(tower_hidden.dtype)).to(hidden.dtype)
        if self.outputs == KEPT:
            kept, rank = in_image_order(torch.cat([centres, place]), self.control_flow)
            return kept, fused.index_select(0, rank), rank
        return self.padded(centres, place, count, fused)

    def padded(self, centres: Tensor, place: Tensor, count: Tensor, fused: Tensor) -> Pruned:
        """Returns the first `count` () of the centres and the last token in image order, and padding behind them."""
        behind = torch.where(torch.arange(self.keep - 1) < count, centres, self.tokens + centres)
        kept, order = in_image_order(torch.cat([behind, place]), self.control_flow)
        meant, last = kept < self.tokens, order == self.keep - 1
        rank = torch.where(meant, torch.where(last, count, order), -1)
        return torch.where(meant, kept, -1), fused.index_select(0, order), rank, (count + 1).view(1)

    def centre_count(self, falling: Tensor) -> Tensor:  # (N,) -> ()
        """Returns how many tokens are centres, by the attention of all, the largest first.

        An outlier lies above the third quartile by more than one and a half times the distance between first and third.
        """
        if self.outputs == KEPT:
            return torch.tensor(self.keep - 1)
        upper, lower = quantile(falling, 0.75), quantile(falling, 0.25)
        return (falling[: self.keep - 1] > upper + 1.5 * (upper - lower)).sum(0)

    def neighbours(self, keys: Tensor, centres: Tensor) -> Tensor:  # (N, C), (K - 1,) -> (K - 1, N)
        """Returns ones at the tokens most similar to each centre, itself left out."""
        unit = unit_rows(keys, self.control_flow)
        similar = products(unit.index_select(0, centres), unit).scatter(1, centres[:, None], -9.0)
        count = min(self.settings.neighbours, self.tokens - 1)
        return most_similar(similar, count, self.control_flow)


def quantile(falling: Tensor, fraction: float) -> Tensor:  # (N,) -> ()
    """Returns a quantile of values that are sorted, the largest first, interpolated between its neighbours.

    >>> quantile(torch.tensor([4.0, 3.0, 1.0, 0.0]), 0.75).item()
    3.25
    """
    place = (1 - fraction) * (falling.shape[0] - 1)
    above = int(place)
    below = min(above + 1, falling.shape[0] - 1)
    return falling[above] + (place - above) * (falling[below] - falling[above])
