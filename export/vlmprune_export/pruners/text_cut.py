"""The cut at which a question chooses: tokens stay by the attention of the text behind the image."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vlmprune_export.pruners.attention_rows import attention_rows, behind, seen_by
from vlmprune_export.pruners.needs import ALL_KEYS, HIDDEN, PLACES, TEXT_PLACES, Need
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.similarity import products
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest

Vote = Callable[[Tensor, Tensor], Tensor]
"""Takes rows of attention (T, S) and whether each has a vote (T,), and returns the scores (S,)."""

THIS_LAYER = (ALL_KEYS, Need("query", "text"), TEXT_PLACES)
NEXT_LAYER = (Need("next_keys", "all"), Need("next_query", "text"), TEXT_PLACES)
"""What gives the attention of the layer before the cut, or of the layer behind it."""


class TextCut(Pruner):
    """Keeps the tokens of the largest scores, which the text behind the image votes for as the mean over heads."""

    def __init__(self, site: Site, settings: Any, vote: Vote, layer: tuple[Need, ...] = THIS_LAYER) -> None:
        """Builds the pruner for a site; `layer` says which layer's attention is read."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.needs, self.vote = (HIDDEN, PLACES, *layer), vote
        self.attention = partial(attention_rows, heads=(site.parts.heads, site.parts.kv_heads))

    def forward(  # (N, D), (N,), (S, Hkv * dh), (T, Hq * dh), (T,) -> (K,), (K, D), (K,)
        self, hidden: Tensor, places: Tensor, keys: Tensor, query: Tensor, text_places: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        rows = self.attention(query, keys, visible=seen_by(text_places, keys)).mean(0)
        scores = self.vote(rows, behind(text_places, places)).index_select(0, places)
        kept, rank = in_image_order(largest(scores, self.keep, self.control_flow), self.control_flow)
        return kept, hidden.index_select(0, kept), rank


def summed(rows: Tensor, voting: Tensor) -> Tensor:  # (T, S), (T,) -> (S,)
    """Returns the sum over the rows that have a vote.

    >>> summed(torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.5, 0.5]]), torch.tensor([True, True, False])).tolist()
    [0.75, 1.25]
    """
    return products(voting.to(rows.dtype)[None], rows.mT)[0]


def largest_of(rows: Tensor, voting: Tensor) -> Tensor:  # (T, S), (T,) -> (S,)
    """Returns the largest value over the rows that have a vote.

    >>> largest_of(torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]]), torch.tensor([True, True, False])).tolist()
    [0.5, 0.75]
    """
    return torch.where(voting[:, None], rows, 0.0).amax(0)
