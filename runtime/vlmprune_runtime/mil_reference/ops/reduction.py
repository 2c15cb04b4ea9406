"""Reductions over axes, the places of extremes, sorting."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _over(axes: Any, rank: int) -> tuple[int, ...]:
    return tuple(range(rank)) if axes is None else tuple(int(axis) for axis in np.ravel(axes))


def _reducing(function: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(x: Array, axes: Any = None, keep_dims: Any = False) -> Array:
        found: Array = function(x, axis=_over(axes, x.ndim), keepdims=bool(keep_dims))
        return found

    return reduce


def _sum(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    found: Array = x.sum(axis=axis, keepdims=keepdims, dtype=x.dtype)
    return found


def _log_sum_exp(x: Array, axis: tuple[int, ...], keepdims: bool) -> Any:
    top = x.max(axis=axis, keepdims=True)
    found = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return found if keepdims else found.squeeze(axis)


def reduce_argmax(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: Any = "int32") -> Array:
    """The place of the largest value, the first of equals."""
    found: Array = np.argmax(x, axis=int(axis), keepdims=bool(keep_dims))
    return found


def reduce_argmin(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: Any = "int32") -> Array:
    """The place of the least value, the first of equals."""
    found: Array = np.argmin(x, axis=int(axis), keepdims=bool(keep_dims))
    return found


def argsort(x: Array, axis: Any = -1, ascending: Any = False) -> Any:
    """The places in order of value, descending unless told; equals in order of place."""
    return _ordered(x, int(axis), bool(ascending))


def topk(
    x: Array, k: Any = 1, axis: Any = -1, ascending: Any = False, sort: Any = True, return_indices: Any = True,
    output_indices_dtype: Any = "int32",
) -> tuple[Array, ...]:  # fmt: skip
    """The k largest values (least if `ascending`) and their places, in order; of equals the first."""
    places = np.take(_ordered(x, int(axis), bool(ascending)), np.arange(int(k)), axis=int(axis))
    if not sort:
        places = np.sort(places, axis=int(axis))
    values = np.take_along_axis(x, places, int(axis))
    return (values, places) if return_indices else (values,)


def _ordered(x: Array, axis: int, ascending: bool) -> Any:
    if ascending:
        return np.argsort(x, axis=axis, kind="stable")
    turned = np.flip(x, axis)  # stable from the back, then turned round: equals stay in order of place
    return x.shape[axis] - 1 - np.flip(np.argsort(turned, axis=axis, kind="stable"), axis)


REDUCTION: dict[str, Callable[..., Any]] = {
    "reduce_sum": _reducing(_sum),
    "reduce_mean": _reducing(np.mean),
    "reduce_max": _reducing(np.max),
    "reduce_min": _reducing(np.min),
    "reduce_prod": _reducing(np.prod),
    "reduce_sum_square": _reducing(lambda x, axis, keepdims: _sum(x * x, axis, keepdims)),
    "reduce_l1_norm": _reducing(lambda x, axis, keepdims: _sum(np.abs(x), axis, keepdims)),
    "reduce_l2_norm": _reducing(lambda x, axis, keepdims: np.sqrt(_sum(x * x, axis, keepdims))),
    "reduce_log_sum": _reducing(lambda x, axis, keepdims: np.log(_sum(x, axis, keepdims))),
    "reduce_log_sum_exp": _reducing(_log_sum_exp),
    "reduce_argmax": reduce_argmax,
    "reduce_argmin": reduce_argmin,
    "argsort": argsort,
    "topk": topk,
}
