"""Merges tokens by density peaks: centres are dense and far from anything denser (DPC-KNN)."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.similarity import most_similar, products
from vlmprune_export.pruners.stable_sort import largest
from vlmprune_export.pruners.unit_vectors import scaled_for_squares


def merge_clusters(
    rows: Tensor, count: int, control_flow: ControlFlow
) -> tuple[Tensor, Tensor]:  # (P, D) -> (C,), (C, D)
    """Returns the centres of `count` clusters, the best first, and the mean row of each cluster."""
    distances = pair_distances(scaled_for_squares(rows, control_flow))
    centres = largest(peak_scores(distances, count, control_flow), count, control_flow)
    nearest = distances.index_select(0, centres).argmin(0)
    nearest = nearest.scatter(0, centres, torch.arange(count))  # a centre belongs to itself
    members = torch.zeros(count, rows.shape[0]).scatter(0, nearest[None], 1.0)
    shares = members / (members.sum(1, keepdim=True) + 1e-6)
    return centres, products(shares, rows.float().mT)


def pair_distances(rows: Tensor) -> Tensor:  # (P, D) -> (P, P)
    """Returns the Euclidean distances of all pairs, divided by the square root of the width."""
    squares = (rows * rows).sum(1)
    apart = (squares[:, None] + squares[None] - 2 * products(rows, rows)).clamp(min=0.0)
    itself = torch.arange(rows.shape[0])[:, None]
    return (apart.scatter(1, itself, 0.0) / rows.shape[1]).sqrt()


def peak_scores(distances: Tensor, count: int, control_flow: ControlFlow) -> Tensor:  # (P, P) -> (P,)
    """Returns how good a centre each token is: its density times its distance to the nearest denser token."""
    squares = (distances * distances).clamp(max=1e30)
    near = squares * most_similar(-squares, count, control_flow)
    density = torch.exp(-near.sum(1) / count)
    index = torch.arange(distances.shape[0])
    before = torch.logical_and(density[None] == density[:, None], index[None] < index[:, None])
    denser = torch.logical_or(density[None] > density[:, None], before)
    return torch.where(denser, distances, distances.amax((0, 1))).amin(1) * density
