"""The interface of every pruner."""

from typing import Any

import torch
from torch import Tensor, nn

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.needs import HIDDEN, KEYS, Need


class Pruner(nn.Module):
    """A module without weights that keeps exactly min(N, K) of the visual tokens of one image.

    `needs` says what `forward` takes, in order. `forward` returns three tensors: the kept indices (K,), int64 and
    ascending; their rows (K, D) of `hidden`, perhaps fused with others; and for each of them the rank (K,) at which
    it was chosen, from 0. `control_flow` is the control flow by which a repeated step is exported; a pruner
    that repeats no step ignores it.
    """

    needs: tuple[Need, ...] = (HIDDEN, KEYS)
    control_flow: ControlFlow = "while"
    settings: Any


Pruned = tuple[Tensor, Tensor, Tensor]
"""What a pruner returns: `kept` (K,), `fused` (K, D), `rank` (K,)."""


def keep_all(hidden: Tensor) -> Pruned:  # (N, D) -> (N,), (N, D), (N,)
    """Returns what a pruner returns that has nothing to drop."""
    everything = torch.arange(hidden.shape[0])
    return everything, hidden.clone(), everything.clone()
