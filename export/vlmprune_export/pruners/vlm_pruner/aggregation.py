"""Stage 3 aggregates discarded tokens into the kept ones, weighted by similarity (paper section 3.4)."""

import torch
from torch import Tensor


def aggregate(hidden: Tensor, similar: Tensor, kept: Tensor, beta: float) -> Tensor:  # (N, D), (K, N), (K,) -> (K, D)
    """Returns the kept rows of `hidden`, each mixed with the discarded tokens that are most similar to it.

    A kept row stays unchanged if no discarded token belongs to it or their similarities do not sum to more than 0.
    """
    weights = mixing_weights(similar, kept)
    total = weights.sum(1)
    weights = weights / total.clamp(min=1e-8)[:, None]
    # A product replaces a scatter-add: ONNX Runtime 1.31 adds rows from several threads without a lock.
    gathered = torch.bmm(weights.view(1, *weights.shape), hidden.view(1, *hidden.shape)).view(-1, hidden.shape[1])
    own, rows = hidden.index_select(0, kept), torch.arange(kept.shape[0])
    # Whole rows are selected for the reason given in `unit_vectors`.
    places = torch.where(total > 0, rows, rows + kept.shape[0])
    return torch.cat([beta * own + (1 - beta) * gathered, own]).index_select(0, places)


def mixing_weights(similar: Tensor, kept: Tensor) -> Tensor:  # (K, N), (K,) -> (K, N)
    """Returns each discarded token's similarity to its most similar kept token (the first of equals), else zero."""
    left = torch.ones(similar.shape[1], dtype=torch.bool).index_fill(0, kept, False)
    nearest, largest = similar.argmax(0, keepdim=True), similar.amax(0, keepdim=True)
    return torch.zeros_like(similar).scatter(0, nearest, torch.where(left, largest, 0.0))


def similarities(unit: Tensor, kept: Tensor, pairs: Tensor | None) -> Tensor:  # (N, q), (K,), (N, N) -> (K, N)
    """Returns the similarities of the kept tokens to all tokens, read from `pairs` if all were computed."""
    if pairs is not None:
        return pairs.index_select(0, kept)
    products = torch.bmm(unit.index_select(0, kept).view(1, -1, unit.shape[1]), unit.view(1, *unit.shape).mT)
    return products.view(-1, unit.shape[0])
