"""Sums along the rows of a matrix, by the operators that are fast in the backend.

ExecuTorch's own reductions take four times as long as its product with a vector of ones (measured on x86-64).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

from vlmprune_export.pruners.loops import ControlFlow


def row_sums(values: Tensor, control_flow: ControlFlow) -> Tensor:  # (R, C) -> (R,)
    """Returns the sum of each row."""
    return row_summer(values.shape[1], control_flow)(values)


def row_summer(columns: int, control_flow: ControlFlow) -> Callable[[Tensor], Tensor]:
    """Returns a function from (R, columns) to the sum of each row, (R,).

    It is made outside a loop whose step calls it: a step of `repeat` cannot make the vector of ones. Rows as long as
    the text have no such vector either, and are summed by the backend's own operator.
    """
    if not _by_products(control_flow) or isinstance(columns, torch.SymInt):
        return lambda values: values.sum(1)
    # A literal list becomes a constant of the graph; `torch.ones` would fill a tensor in every call.
    ones = torch.tensor([[1.0] * columns])
    return lambda values: linear(values, ones).view(-1)


def row_means(values: Tensor, control_flow: ControlFlow) -> Tensor:  # (R, C) -> (R,)
    """Returns the mean of each row."""
    return row_sums(values, control_flow) / values.shape[1] if _by_products(control_flow) else values.mean(1)


def magnitude_bound(values: Tensor, control_flow: ControlFlow) -> tuple[Tensor, int]:  # (R, C) -> ()
    """Returns an upper bound of the absolute values and the factor by which it may exceed their largest.

    The bound is NaN if any value is NaN.
    """
    sizes = values.abs()
    if _by_products(control_flow):
        return row_sums(sizes, control_flow).amax(0), values.shape[1]
    return sizes.amax((0, 1)), 1


def _by_products(control_flow: ControlFlow) -> bool:
    return control_flow == "scan" and torch.compiler.is_exporting()
