"""Stage 1 picks the pivots, tokens that lie far apart in key space (paper section 3.2)."""

import torch
from torch import Tensor

from vlmprune_export.pruners.features import in_square_range
from vlmprune_export.pruners.loops import LoopForm
from vlmprune_export.pruners.sums import row_sums


def pick_pivots(keys: Tensor, count: int, form: LoopForm) -> Tensor:  # (N, Dk) -> (P,)
    """Returns the pivots by rank: the key of largest L1 norm, then each time the key farthest from all picked.

    A tie goes to the lowest index; no token is picked twice. `count` must not exceed N.
    """
    keys = in_square_range(keys, form)
    tokens = torch.arange(keys.shape[0])
    pivots = [_known(row_sums(keys.abs(), form)).argmax(0, keepdim=True)]
    nearest = torch.full((keys.shape[0],), 3e38)
    for _ in range(count - 1):
        away = keys - keys.index_select(0, pivots[-1])
        nearest = torch.minimum(nearest, _known(row_sums(away * away, form)))
        nearest = torch.where(tokens == pivots[-1], -1.0, nearest)
        pivots.append(nearest.argmax(0, keepdim=True))
    return torch.cat(pivots)


def _known(values: Tensor) -> Tensor:  # (N,) -> (N,)
    # A comparison with NaN is false, so a NaN counts as a length or distance of zero.
    return torch.where(values >= 0, values, 0.0)
