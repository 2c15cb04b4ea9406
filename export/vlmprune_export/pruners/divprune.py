"""DivPrune (arXiv 2503.02175) keeps tokens that lie far apart: the largest smallest cosine distance, greedily."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import State, repeat
from vlmprune_export.pruners.needs import HIDDEN
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.settings import NoSettings
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order

CHOSEN = 9.0
"""The similarity of a chosen token, above that of any other."""


class DivPrune(Pruner):
    """Solves the max-min diversity problem greedily; a chosen token is never chosen again."""

    needs = (HIDDEN,)

    def __init__(self, site: Site, settings: NoSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings

    def forward(self, hidden: Tensor) -> Pruned:  # (N, D) -> (K,), (K, D), (K,)
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        unit = unit_rows(hidden, self.control_flow)
        kept, rank = in_image_order(self.choose(products(unit, unit)), self.control_flow)
        return kept, hidden.index_select(0, kept), rank

    def choose(self, similar: Tensor) -> Tensor:  # (N, N) -> (K,)
        """Returns the chosen tokens in order; at each step the one whose nearest chosen token is farthest."""

        def step(state: State) -> State:
            nearest, chosen, count = state
            token = nearest.argmin(0, keepdim=True)
            nearest = torch.maximum(nearest, similar.index_select(0, token)[0])
            nearest = nearest.scatter(0, token, torch.full((1,), CHOSEN))
            return nearest, chosen.scatter(0, count, token), count + 1

        first = self.nearest_other(similar).argmin(0, keepdim=True)
        nearest = similar.index_select(0, first)[0].scatter(0, first, torch.full((1,), CHOSEN))
        chosen = torch.cat([first, torch.zeros(self.keep - 1, dtype=torch.int64)])
        start = (nearest, chosen, torch.ones(1, dtype=torch.int64))
        return repeat(step, start, steps=self.keep - 1, control_flow=self.control_flow)[1] if self.keep > 1 else first

    def nearest_other(self, similar: Tensor) -> Tensor:  # (N, N) -> (N,)
        """Returns the largest similarity of each token to another token."""
        itself = torch.arange(self.tokens) * (self.tokens + 1)
        others = similar.view(-1).scatter(0, itself, torch.full((self.tokens,), -CHOSEN))
        return others.view(self.tokens, -1).amax(1)
