"""The module of pruners that never look at the image: they keep the same tokens of every image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlmprune_export.pruners.needs import HIDDEN
from vlmprune_export.pruners.pruner import Pruned, Pruner


class FixedPruner(Pruner):
    """Keeps the tokens that it was built with; their indices are constants of the exported graph."""

    needs = (HIDDEN,)
    kept: Tensor
    rank: Tensor

    def __init__(self, chosen: Sequence[int], settings: Any) -> None:
        """`chosen` holds distinct tokens in the order of their ranks."""
        super().__init__()
        self.settings = settings
        kept = sorted(chosen)
        rank = {token: nth for nth, token in enumerate(chosen)}
        self.register_buffer("kept", torch.tensor(kept), persistent=False)
        self.register_buffer("rank", torch.tensor([rank[token] for token in kept]), persistent=False)

    def forward(self, hidden: Tensor) -> Pruned:  # (N, D) -> (K,), (K, D), (K,)
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        return self.kept.clone(), hidden.index_select(0, self.kept), self.rank.clone()
