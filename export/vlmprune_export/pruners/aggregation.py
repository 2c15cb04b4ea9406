"""Stage 3: similarity-weighted aggregation of what is discarded (paper section 3.4)."""

import torch
from torch import Tensor


def aggregate(hidden: Tensor, unit: Tensor, kept: Tensor, beta: float) -> Tensor:  # (N, D), (N, q), (K,) -> (K, D)
    """The kept rows of `hidden`, each mixed with the discarded tokens that are most similar to it.

    A kept token that got none, or whose similarities do not add up to more than zero, stays as it is.
    """
    weights = shares(unit, kept)
    total = weights.sum(0)
    weights = weights / total.clamp(min=1e-8)
    # A product, not a sum into rows: ONNX Runtime 1.31 adds rows from several threads without a lock.
    gathered = torch.bmm(weights[None].mT, hidden[None])[0]
    own = hidden.index_select(0, kept)
    return torch.where(total[:, None] > 0, beta * own + (1 - beta) * gathered, own)


def shares(unit: Tensor, kept: Tensor) -> Tensor:  # (N, q), (K,) -> (N, K)
    """Each discarded token's similarity to the kept token nearest to it (ties: the first), zero elsewhere."""
    left = torch.ones(unit.shape[0], dtype=torch.bool).index_fill(0, kept, False)
    similar = torch.bmm(unit[None], unit.index_select(0, kept)[None].mT)[0]
    nearest = similar.argmax(1, keepdim=True) == torch.arange(kept.shape[0])
    return torch.where(torch.logical_and(nearest, left[:, None]), similar, 0.0)
