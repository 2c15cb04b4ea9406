"""Gathers and scatters. An index outside the tensor is an error: on a device its result is not defined."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_MODES: dict[str, np.ufunc] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _inside(indices: Array, size: int) -> npt.NDArray[np.int64]:
    if not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"indices are {indices.dtype}")
    wide = indices.astype(np.int64)
    if wide.size and not (wide.min() >= 0 and wide.max() < size):
        raise ValueError(f"indices {wide.min()} to {wide.max()} in an axis of {size}")
    return wide


def gather(x: Array, indices: Array, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = False) -> Array:
    """Slices of `axis` by index, the first `batch_dims` axes side by side."""
    along, batch = int(axis) % x.ndim, int(batch_dims)
    places = _inside(indices, x.shape[along])
    if not batch:
        return np.take(x, places, along)
    lead = x.shape[:batch]
    rows = zip(x.reshape(-1, *x.shape[batch:]), places.reshape(-1, *places.shape[batch:]), strict=True)
    taken = np.stack([np.take(one, place, along - batch) for one, place in rows])
    return taken.reshape(lead + taken.shape[1:])


def gather_along_axis(x: Array, indices: Array, axis: Any = 0, validate_indices: Any = False) -> Array:
    """One value per index along `axis`."""
    return np.take_along_axis(x, _inside(indices, x.shape[int(axis)]), int(axis))


def gather_nd(x: Array, indices: Array, batch_dims: Any = 0, validate_indices: Any = False) -> Array:
    """Slices by index vectors in the last axis."""
    batch = int(batch_dims)
    depth = indices.shape[-1]
    places = [_inside(indices[..., nth], x.shape[batch + nth]) for nth in range(depth)]
    grid = np.indices(indices.shape[:-1])[:batch]
    found: Array = x[(*grid, *places)]
    return found


def scatter(
    data: Array, indices: Array, updates: Array, axis: Any = 0, mode: Any = "add", validate_indices: Any = False
) -> Array:
    """Slices of `axis` changed by index."""
    along = int(axis) % data.ndim
    places = (slice(None),) * along + (_inside(indices, data.shape[along]),)
    return _changed(data, places, updates, str(mode))


def scatter_along_axis(
    data: Array, indices: Array, updates: Array, axis: Any = 0, mode: Any = "add", validate_indices: Any = False
) -> Array:
    """One value per index changed along `axis`."""
    along = int(axis) % data.ndim
    places = list(np.indices(indices.shape))
    places[along] = _inside(indices, data.shape[along])
    return _changed(data, tuple(places), updates, str(mode))


def scatter_nd(data: Array, indices: Array, updates: Array, mode: Any = "add", validate_indices: Any = False) -> Array:
    """Slices changed by index vectors in the last axis."""
    places = tuple(_inside(indices[..., nth], data.shape[nth]) for nth in range(indices.shape[-1]))
    return _changed(data, places, updates, str(mode))


def _changed(data: Array, places: tuple[Any, ...], updates: Array, mode: str) -> Array:
    found = data.copy()
    if mode == "update":
        found[places] = updates
    elif mode in _MODES:
        _MODES[mode].at(found, places, updates)
    else:
        raise ValueError(f"mode {mode}")
    return found


GATHERING: dict[str, Callable[..., Any]] = {
    one.__name__: one for one in (gather, gather_along_axis, gather_nd, scatter, scatter_along_axis, scatter_nd)
}
