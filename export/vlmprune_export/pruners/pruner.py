"""What every pruner is."""

from typing import Any

from torch import nn

from vlmprune_export.pruners.loops import LoopForm


class Pruner(nn.Module):
    """A module without weights that keeps exactly min(N, K) of the visual tokens of one image.

    `inputs` names what `forward` takes, in order. `forward` returns three tensors: the kept indices (K,),
    int64 and ascending; their rows (K, D) of `hidden`, perhaps fused with others; and for each of them (K,)
    the place, from 0, at which it was chosen. `loop` says how a repeated step is exported; it means nothing
    to a pruner that repeats none.
    """

    inputs: tuple[str, ...] = ("hidden", "keys")
    loop: LoopForm = "while"
    settings: Any
