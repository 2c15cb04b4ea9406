"""Sorts in ascending order with the same rule in every backend: of equal values the lower index comes first."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow


def stable_argsort(values: Tensor, control_flow: ControlFlow) -> Tensor:  # (N,) -> (N,)
    """Returns the indices of the values, lowest first. The values must not hold a NaN.

    PyTorch's stable sort has no translation to ONNX or ExecuTorch, and `topk` promises nothing about equal values.
    ONNX's TopK and the translation for Core ML take the lower index; for ExecuTorch a second sort puts ties in order.
    """
    if not torch.compiler.is_exporting():
        return torch.sort(values, stable=True).indices
    return _sort_in_runs(values)[1] if control_flow == "scan" else _lowest(values).indices


def stable_sort(values: Tensor, control_flow: ControlFlow) -> tuple[Tensor, Tensor]:  # (N,) -> (N,), (N,)
    """Returns the values, lowest first, and their indices; see `stable_argsort`."""
    if not torch.compiler.is_exporting():
        lowest, order = torch.sort(values, stable=True)
        return lowest, order
    return _sort_in_runs(values) if control_flow == "scan" else _lowest(values)


def _lowest(values: Tensor) -> torch.return_types.topk:
    return torch.topk(values, values.shape[0], largest=False, sorted=True)


def _sort_in_runs(values: Tensor) -> tuple[Tensor, Tensor]:  # (N,) -> (N,), (N,)
    """Sorts twice: by value, then by the number of the run of equal values and by index, which are never equal."""
    count = values.shape[0]
    lowest, order = _lowest(values)
    rises = (lowest[1:] != lowest[:-1]).to(torch.int64)
    run = torch.cat([torch.zeros(1, dtype=torch.int64), rises]).cumsum(0) * count
    return lowest, _lowest(run + order).values - run


def largest(scores: Tensor, count: int, control_flow: ControlFlow) -> Tensor:  # (N,) -> (count,)
    """Returns the indices of the largest scores, largest first; a NaN counts as less than any number.

    >>> largest(torch.tensor([1.0, 3.0, float("nan"), 3.0]), 3, "while").tolist()
    [1, 3, 0]
    """
    known = torch.where(scores == scores, scores, -3e38)  # a NaN differs from itself
    return stable_argsort(-known, control_flow)[:count]


def in_image_order(chosen: Tensor, control_flow: ControlFlow) -> tuple[Tensor, Tensor]:  # (K,) -> (K,), (K,)
    """Returns tokens that are given in the order of their choice as `kept` and `rank` of a pruner.

    >>> [part.tolist() for part in in_image_order(torch.tensor([7, 2, 5]), "while")]
    [[2, 5, 7], [1, 2, 0]]
    """
    rank = stable_argsort(chosen, control_flow)
    return chosen.index_select(0, rank), rank
