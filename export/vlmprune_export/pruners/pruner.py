"""The interface of every pruner."""

from typing import Any

import torch
from torch import Tensor, nn

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.needs import HIDDEN, KEYS, Need

KEPT, COUNTED = ("kept", "fused", "rank"), ("kept", "fused", "rank", "count")
"""The outputs of a pruner that keeps exactly K tokens, and of one that keeps no more than K."""


class Pruner(nn.Module):
    """A module without weights that keeps exactly min(N, K) of the visual tokens of one image, or no more than K.

    `needs` says what `forward` takes, in order. `forward` returns three tensors: the kept indices (K,), int64 and
    ascending; their rows (K, D) of `hidden`, perhaps fused with others; and for each of them the rank (K,) at which
    it was chosen, from 0. A pruner whose `outputs` are `COUNTED` returns a fourth one, `count` (1,), int64 and at least
    1: only the first `count` rows of the others are meant, and behind them `kept` is -1.

    `uses_modules` says that it is another method without the projector or the last norm of its site.

    `control_flow` is the control flow by which a repeated step is exported; a pruner that repeats no step ignores it.
    """

    needs: tuple[Need, ...] = (HIDDEN, KEYS)
    outputs: tuple[str, ...] = KEPT
    uses_modules: bool = False
    control_flow: ControlFlow = "while"
    settings: Any


Pruned = tuple[Tensor, ...]
"""What a pruner returns: `kept` (K,), `fused` (K, D), `rank` (K,), and perhaps `count` (1,)."""


def keep_all(hidden: Tensor) -> Pruned:  # (N, D) -> (N,), (N, D), (N,)
    """Returns what a pruner returns that has nothing to drop."""
    everything = torch.arange(hidden.shape[0])
    return everything, hidden.clone(), everything.clone()
