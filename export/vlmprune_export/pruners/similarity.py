"""Cosine similarities of tokens, for methods that compare all channels."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow, State, repeat
from vlmprune_export.pruners.unit_vectors import unit_vectors


def unit_rows(rows: Tensor, control_flow: ControlFlow) -> Tensor:  # (N, D) -> (N, D)
    """Returns the rows at length one, in fp32; a zero vector stays zero, a non-finite one becomes zero."""
    return unit_vectors(rows, rows.shape[1], control_flow)


def most_similar(similar: Tensor, count: int, control_flow: ControlFlow) -> Tensor:  # (M, N) -> (M, N)
    """Returns ones at the `count` largest values of each row, ties to the lowest index, and zeros elsewhere."""

    rows = similar.shape[0]

    def step(state: State) -> State:
        left, chosen = state
        place = left.argmax(1, keepdim=True)
        left = left.scatter(1, place, torch.full((rows, 1), -3e38))
        return left, chosen.scatter(1, place, torch.ones(rows, 1))

    start = (similar, torch.zeros_like(similar))
    return repeat(step, start, steps=count, control_flow=control_flow)[1]


def products(left: Tensor, right: Tensor) -> Tensor:  # (M, D), (N, D) -> (M, N)
    """Returns the dot products of all pairs, by the product that backends delegate."""
    return torch.bmm(left.view(1, *left.shape), right.view(1, *right.shape).mT).view(left.shape[0], right.shape[0])
