"""Cosine similarities of tokens, for methods that compare all channels."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.unit_vectors import unit_vectors


def unit_rows(rows: Tensor, control_flow: ControlFlow) -> Tensor:  # (N, D) -> (N, D)
    """Returns the rows at length one, in fp32; a zero vector stays zero, a non-finite one becomes zero."""
    return unit_vectors(rows, rows.shape[1], control_flow)


def products(left: Tensor, right: Tensor) -> Tensor:  # (M, D), (N, D) -> (M, N)
    """Returns the dot products of all pairs, by the product that backends delegate."""
    return torch.bmm(left.view(1, *left.shape), right.view(1, *right.shape).mT).view(left.shape[0], right.shape[0])
