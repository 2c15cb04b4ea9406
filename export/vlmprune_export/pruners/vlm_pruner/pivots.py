"""Stage 1 picks the pivots, tokens that lie far apart in key space (paper section 3.2)."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.row_sums import row_sums
from vlmprune_export.pruners.unit_vectors import scaled_for_squares


def pick_pivots(keys: Tensor, count: int, control_flow: ControlFlow) -> Tensor:  # (N, Dk) -> (P,)
    """Returns the pivots by rank: the key of largest L1 norm, then each time the key farthest from all picked.

    A tie goes to the lowest index; no token is picked twice. `count` must not exceed N.
    """
    keys = scaled_for_squares(keys, control_flow)
    tokens = torch.arange(keys.shape[0])
    pivots = [_nan_to_zero(row_sums(keys.abs(), control_flow)).argmax(0, keepdim=True)]
    nearest = torch.full((keys.shape[0],), 3e38)
    for _ in range(count - 1):
        away = keys - keys.index_select(0, pivots[-1])
        nearest = torch.minimum(nearest, _nan_to_zero(row_sums(away * away, control_flow)))
        nearest = torch.where(tokens == pivots[-1], -1.0, nearest)
        pivots.append(nearest.argmax(0, keepdim=True))
    return torch.cat(pivots)


def _nan_to_zero(values: Tensor) -> Tensor:  # (N,) -> (N,)
    # A comparison with NaN is false, so a NaN counts as a length or distance of zero.
    return torch.where(values >= 0, values, 0.0)
