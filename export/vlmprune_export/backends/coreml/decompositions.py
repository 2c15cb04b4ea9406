"""Decomposes operators that the Core ML converter does not have, or whose ties it leaves open, into others."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def _like(values: Tensor, number: float) -> Tensor:
    return torch.full([1] * values.dim(), number, dtype=values.dtype)


def typed_full(
    size: list[int], number: float, *, dtype: torch.dtype | None = None, **_: Any
) -> Any:  # Tensor, or NotImplemented for what the converter knows
    """Gives `full` an explicit dtype: the converter takes fp32 otherwise."""
    if dtype is not None:
        return NotImplemented
    inferred = {bool: torch.bool, int: torch.int64}.get(type(number), torch.get_default_dtype())
    return torch.full(size, number, dtype=inferred)


def typed_zeros(size: list[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    """Replaces `zeros` by `full`, because the converter's `zeros` ignores the dtype."""
    return torch.full(size, 0, dtype=dtype or torch.get_default_dtype())


def typed_ones(size: list[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    """Replaces `ones` by `full`, for the reason given in `typed_zeros`."""
    return torch.full(size, 1, dtype=dtype or torch.get_default_dtype())


def where_scalars(
    condition: Tensor, first: Tensor, second: Tensor
) -> Any:  # Tensor, or NotImplemented for what the converter knows
    """Computes `where` of tensors without a dimension in one dimension; of other tensors it stays as it is."""
    if condition.dim() or first.dim() or second.dim():
        return NotImplemented
    return torch.where(condition.view(1), first.view(1), second.view(1)).squeeze(0)


def where_other(condition: Tensor, values: Tensor, number: float) -> Tensor:
    """Computes `where` with a number as the second value."""
    return torch.where(condition, values, _like(values, number))


def where_self(condition: Tensor, number: float, values: Tensor) -> Tensor:
    """Computes `where` with a number as the first value."""
    return torch.where(condition, _like(values, number), values)


def where_numbers(condition: Tensor, first: float, second: float) -> Tensor:
    """Computes `where` with two numbers."""
    shape = [1] * condition.dim()
    return torch.where(condition, torch.full(shape, first), torch.full(shape, second))


def integer_clamp(
    values: Tensor, least: int | None = None, most: int | None = None
) -> Any:  # Tensor, or NotImplemented for what the converter knows
    """Computes `clamp` of integers, which the converter would turn into fp32; other tensors stay as they are."""
    if values.is_floating_point():
        return NotImplemented
    values = values if least is None else torch.maximum(values, _like(values, least))
    return values if most is None else torch.minimum(values, _like(values, most))


def count(
    values: Tensor, *, dtype: torch.dtype | None = None
) -> Any:  # Tensor, or NotImplemented for what the converter knows
    """Computes `sum` of booleans, which the converter would turn into fp32; other tensors stay as they are."""
    if values.dtype != torch.bool:
        return NotImplemented
    return values.to(torch.int64).sum(dtype=dtype)


def first_argmax(values: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Computes `argmax` so that of equal values the first is taken."""
    assert dim is not None
    places = torch.arange(values.shape[dim])
    shape = [1] * values.dim()
    shape[dim] = -1
    largest = values == values.amax(dim, keepdim=True)
    indices = torch.where(largest, places.reshape(shape), _like(places, values.shape[dim]))
    return indices.amin(dim, keepdim=keepdim)


def filled(values: Tensor, dim: int, index: Tensor, number: float) -> Tensor:  # (n,), (k,) -> (n,)
    """Computes `index_fill` in one dimension."""
    assert values.dim() == 1 and dim == 0
    hits = torch.arange(values.shape[0])[:, None] == index[None]
    return torch.where(hits.to(torch.int32).sum(1) > 0, _like(values, number), values)


def stable_topk(
    values: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:  # (n,) -> (k,), (k,)
    """Computes `topk` in one dimension by comparing pairs; of equal values the lower index comes first.

    In several dimensions `topk` stays as it is, where Core ML promises nothing about equal values.
    """
    if values.dim() != 1:
        return NotImplemented  # type: ignore[no-any-return]
    index = torch.arange(values.shape[0])
    row, column = (values[None], values[:, None]) if not largest else (-values[None], -values[:, None])
    tie = torch.logical_and(row == column, index[None] < index[:, None])
    rank = torch.logical_or(row < column, tie).to(torch.int32).sum(1)
    order = torch.zeros_like(index).scatter(0, rank, index)[:k]
    return values.index_select(0, order), order


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    _aten.full.default: typed_full,
    _aten.zeros.default: typed_zeros,
    _aten.ones.default: typed_ones,
    _aten.where.self: where_scalars,
    _aten.where.ScalarOther: where_other,
    _aten.where.ScalarSelf: where_self,
    _aten.where.Scalar: where_numbers,
    _aten.clamp.default: integer_clamp,
    _aten.sum.default: count,
    _aten.argmax.default: first_argmax,
    _aten.topk.default: stable_topk,
    _aten.index_fill.int_Scalar: filled,
}
