"""What the Core ML converter does not know, or whose ties it leaves open, in operators it does know."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def _like(values: Tensor, number: float) -> Tensor:
    return torch.full([1], number, dtype=values.dtype)


def where_other(condition: Tensor, values: Tensor, number: float) -> Tensor:
    """`where` with a number in the second place."""
    return torch.where(condition, values, _like(values, number))


def where_self(condition: Tensor, number: float, values: Tensor) -> Tensor:
    """`where` with a number in the first place."""
    return torch.where(condition, _like(values, number), values)


def where_numbers(condition: Tensor, first: float, second: float) -> Tensor:
    """`where` between two numbers."""
    return torch.where(condition, torch.full([1], first), torch.full([1], second))


def first_argmax(values: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """`argmax` that says which of equal values it takes: the first."""
    assert dim is not None
    places = torch.arange(values.shape[dim])
    shape = [1] * values.dim()
    shape[dim] = -1
    largest = values == values.amax(dim, keepdim=True)
    found = torch.where(largest, places.reshape(shape), _like(places, values.shape[dim]))
    return found.amin(dim, keepdim=keepdim)


def filled(values: Tensor, dim: int, index: Tensor, number: float) -> Tensor:  # (n,), (k,) -> (n,)
    """`index_fill` of one dimension."""
    assert values.dim() == 1 and dim == 0
    hits = torch.arange(values.shape[0])[:, None] == index[None]
    return torch.where(hits.to(torch.int32).sum(1) > 0, _like(values, number), values)


def stable_topk(
    values: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:  # (n,) -> (k,), (k,)
    """`topk` of one dimension in which the lower index of equal values comes first: values counted in pairs."""
    assert values.dim() == 1
    index = torch.arange(values.shape[0])
    row, column = (values[None], values[:, None]) if not largest else (-values[None], -values[:, None])
    tie = torch.logical_and(row == column, index[None] < index[:, None])
    rank = torch.logical_or(row < column, tie).to(torch.int32).sum(1)
    order = torch.zeros_like(index).scatter(0, rank, index)[:k]
    return values.index_select(0, order), order


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    _aten.where.ScalarOther: where_other,
    _aten.where.ScalarSelf: where_self,
    _aten.where.Scalar: where_numbers,
    _aten.argmax.default: first_argmax,
    _aten.topk.default: stable_topk,
    _aten.index_fill.int_Scalar: filled,
}
