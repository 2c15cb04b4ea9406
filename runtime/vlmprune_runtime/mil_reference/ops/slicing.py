"""Slices, read and written."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def slice_by_index(
    x: Array, begin: Any, end: Any, stride: Any = None, begin_mask: Any = None, end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Array:  # fmt: skip
    """x[begin:end:stride] on every axis; a set mask leaves that bound open, or takes the one place `begin`."""
    found: Array = x[_places(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)]
    return found


def slice_by_size(x: Array, begin: Any, size: Any) -> Array:
    """`size` places from `begin` on every axis; -1 is all that are left."""
    starts, sizes = np.ravel(begin), np.ravel(size)
    places = []
    for start, count, whole in zip(starts, sizes, x.shape, strict=True):
        first = int(start) + (whole if start < 0 else 0)
        stop = whole if count < 0 else first + int(count)
        if not 0 <= first <= stop <= whole:
            raise ValueError(f"places {first} to {stop} of {whole}")
        places.append(slice(first, stop))
    return x[tuple(places)]


def slice_update(
    x: Array, update: Array, begin: Any, end: Any, stride: Any = None, begin_mask: Any = None, end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Array:  # fmt: skip
    """x with a slice of it replaced; `ValueError` where the update has not the slice's shape."""
    places = _places(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    found = x.copy()
    if found[places].shape != update.shape:
        raise ValueError(f"slice has shape {found[places].shape}, update {update.shape}")
    found[places] = update
    return found


def _places(shape: tuple[int, ...], begin: Any, end: Any, *optional: Any) -> tuple[slice | int, ...]:
    rank = len(shape)
    starts, stops = np.ravel(begin), np.ravel(end)
    strides = [1] * rank if optional[0] is None else [int(one) for one in np.ravel(optional[0])]
    masks = [[False] * rank if mask is None else np.ravel(mask).tolist() for mask in optional[1:]]
    return tuple(
        _place(int(starts[axis]), int(stops[axis]), strides[axis], size, *(mask[axis] for mask in masks))
        for axis, size in enumerate(shape)
    )


def _place(start: int, stop: int, stride: int, size: int, *masks: bool) -> slice | int:
    open_start, open_stop, single = masks
    if single:
        place = start + size if start < 0 else start
        if not 0 <= place < size:
            raise ValueError(f"place {start} of {size}")
        return place
    first = None if open_start else start
    last = None if open_stop else stop
    if first is not None and not -size <= first <= size:
        raise ValueError(f"slice begins at {start} of {size}")
    return slice(first, last, stride)


SLICING: dict[str, Callable[..., Any]] = {one.__name__: one for one in (slice_by_index, slice_by_size, slice_update)}
