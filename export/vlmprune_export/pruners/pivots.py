"""Stage 1: the first tokens, spread out in key space (paper section 3.2)."""

import torch
from torch import Tensor

from vlmprune_export.pruners.features import in_square_range


def pick_pivots(keys: Tensor, count: int) -> Tensor:  # (N, Dk) -> (P,)
    """Indices of the pivots in the order chosen: the largest L1 norm, then the farthest from all chosen.

    Ties go to the lowest index; none is chosen twice. Needs `count` <= N.
    """
    keys = in_square_range(keys)
    tokens = torch.arange(keys.shape[0])
    pivots = [_known(keys.abs().sum(1)).argmax(0, keepdim=True)]
    nearest = torch.full((keys.shape[0],), 3e38)
    for _ in range(count - 1):
        away = keys - keys.index_select(0, pivots[-1])
        nearest = torch.minimum(nearest, _known((away * away).sum(1)))
        nearest = torch.where(tokens == pivots[-1], -1.0, nearest)
        pivots.append(nearest.argmax(0, keepdim=True))
    return torch.cat(pivots)


def _known(values: Tensor) -> Tensor:  # (N,) -> (N,)
    # A comparison with NaN is false: it counts as no length and no distance at all.
    return torch.where(values >= 0, values, 0.0)
