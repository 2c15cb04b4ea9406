"""Ascending order with one rule for equal values: the lower index comes first."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import LoopForm


def ascending(values: Tensor, form: LoopForm) -> Tensor:  # (N,) -> (N,)
    """Indices of the values, lowest first. No NaN allowed.

    PyTorch's stable sort has no ONNX translation, and its `topk` promises nothing about equal values. ONNX's
    TopK promises the lower index, so the form for ONNX uses it; the others compare the values in pairs.
    """
    if not torch.compiler.is_exporting():
        return torch.sort(values, stable=True).indices
    if form == "while":
        return torch.topk(values, values.shape[0], largest=False, sorted=True).indices
    index = torch.arange(values.shape[0])
    rank = precedes(values).sum(1)
    return torch.zeros_like(index).scatter(0, rank, index)


def sort_ascending(values: Tensor, form: LoopForm) -> tuple[Tensor, Tensor]:  # (N,) -> (N,), (N,)
    """The values, lowest first, and their indices; see `ascending`."""
    if torch.compiler.is_exporting() and form == "while":
        lowest = torch.topk(values, values.shape[0], largest=False, sorted=True)
        return lowest.values, lowest.indices
    order = ascending(values, form)
    return values.index_select(0, order), order


def precedes(values: Tensor) -> Tensor:  # (N,) -> (N, N)
    """Whether, for value i, value j comes before it."""
    index = torch.arange(values.shape[0])
    lower = values[None] < values[:, None]
    equal = torch.logical_and(values[None] == values[:, None], index[None] < index[:, None])
    return torch.logical_or(lower, equal)
