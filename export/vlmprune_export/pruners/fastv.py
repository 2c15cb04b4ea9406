"""FastV (arXiv 2403.06764) keeps the visual tokens to which the last token of the prompt attends most."""

from typing import Any

from torch import Tensor

from vlmprune_export.pruners.attention_rows import attention_rows, seen_by
from vlmprune_export.pruners.needs import ALL_KEYS, HIDDEN, LAST_PLACE, PLACES, Need
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest


class FastV(Pruner):
    """Ranks visual tokens by one row of the attention of the layer before the cut, as the released code does."""

    needs = (HIDDEN, PLACES, ALL_KEYS, Need("query", "last"), LAST_PLACE)

    def __init__(self, site: Site, settings: Any) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.heads = (site.parts.heads, site.parts.kv_heads)

    def forward(  # (N, D), (N,), (S, Hkv * dh), (1, Hq * dh), (1,) -> (K,), (K, D), (K,)
        self, hidden: Tensor, places: Tensor, keys: Tensor, query: Tensor, last: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        row = attention_rows(query, keys, self.heads, seen_by(last, keys)).mean((0, 1))
        kept, rank = in_image_order(
            largest(row.index_select(0, places), self.keep, self.control_flow), self.control_flow
        )
        return kept, hidden.index_select(0, kept), rank
