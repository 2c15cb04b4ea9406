"""Stage 3: similarity-weighted aggregation of what is discarded (paper section 3.4)."""

import torch
from torch import Tensor


def aggregate(hidden: Tensor, similar: Tensor, kept: Tensor, beta: float) -> Tensor:  # (N, D), (K, N), (K,) -> (K, D)
    """The kept rows of `hidden`, each mixed with the discarded tokens that are most similar to it.

    A kept token that got none, or whose similarities do not add up to more than zero, stays as it is.
    """
    weights = shares(similar, kept)
    total = weights.sum(1)
    weights = weights / total.clamp(min=1e-8)[:, None]
    # A product, not a sum into rows: ONNX Runtime 1.31 adds rows from several threads without a lock.
    gathered = torch.bmm(weights.view(1, *weights.shape), hidden.view(1, *hidden.shape)).view(-1, hidden.shape[1])
    own, rows = hidden.index_select(0, kept), torch.arange(kept.shape[0])
    # Whole rows are taken from one or the other, see `unit_features`.
    places = torch.where(total > 0, rows, rows + kept.shape[0])
    return torch.cat([beta * own + (1 - beta) * gathered, own]).index_select(0, places)


def shares(similar: Tensor, kept: Tensor) -> Tensor:  # (K, N), (K,) -> (K, N)
    """Each discarded token's similarity to the kept token nearest to it (ties: the first), zero elsewhere."""
    left = torch.ones(similar.shape[1], dtype=torch.bool).index_fill(0, kept, False)
    nearest, largest = similar.argmax(0, keepdim=True), similar.amax(0, keepdim=True)
    return torch.zeros_like(similar).scatter(0, nearest, torch.where(left, largest, 0.0))


def similarities(unit: Tensor, kept: Tensor, pairs: Tensor | None) -> Tensor:  # (N, q), (K,), (N, N) -> (K, N)
    """Those of the kept tokens to all, from `pairs` if all were computed."""
    if pairs is not None:
        return pairs.index_select(0, kept)
    products = torch.bmm(unit.index_select(0, kept).view(1, -1, unit.shape[1]), unit.view(1, *unit.shape).mT)
    return products.view(-1, unit.shape[0])
