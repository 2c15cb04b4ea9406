"""Shapes and layouts: nothing here computes but `cumsum`, `range_1d` and `fill`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _ints(value: Any) -> list[int]:
    return [int(one) for one in np.ravel(value)]


def identity(x: Array) -> Array:
    """x."""
    return x


def reshape(x: Array, shape: Any) -> Array:
    """Another shape; 0 takes the size at the same place from the right, -1 what is left (iOS 17's rule)."""
    wanted, have = _ints(shape), x.shape
    for back, size in enumerate(reversed(wanted), start=1):
        if size == 0:
            wanted[-back] = have[-back] if back <= len(have) else 1
    return x.reshape(wanted)


def expand_dims(x: Array, axes: Any) -> Array:
    """New axes of size 1."""
    return np.expand_dims(x, tuple(_ints(axes)))


def squeeze(x: Array, axes: Any = None) -> Array:
    """Without the axes, or without all of size 1."""
    return np.squeeze(x, None if axes is None else tuple(_ints(axes)))


def transpose(x: Array, perm: Any) -> Array:
    """Axes in another order."""
    return np.transpose(x, _ints(perm))


def concat(values: tuple[Array, ...], axis: Any, interleave: Any = False) -> Array:
    """Side by side along `axis`; scalars as one place each."""
    if interleave:
        raise ValueError("interleave")
    return np.concatenate([np.atleast_1d(one) for one in values], int(axis))


def stack(values: tuple[Array, ...], axis: Any) -> Array:
    """Side by side along a new axis."""
    return np.stack(values, int(axis))


def split(x: Array, axis: Any, num_splits: Any = None, split_sizes: Any = None) -> tuple[Array, ...]:
    """Parts along `axis`, of equal or of given sizes."""
    if split_sizes is None:
        return tuple(np.split(x, int(num_splits), int(axis)))
    return tuple(np.split(x, np.cumsum(_ints(split_sizes))[:-1], int(axis)))


def tile(x: Array, reps: Any) -> Array:
    """Repeated along each axis."""
    return np.tile(x, _ints(reps))


def pad(x: Array, pad: Any, mode: Any = "constant", constant_val: Any = 0.0) -> Array:
    """Padded along the last axes."""
    both = _ints(pad)
    widths = list(zip(both[::2], both[1::2], strict=True))
    widths = [(0, 0)] * (x.ndim - len(widths)) + widths
    kind = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[str(mode)]
    if kind == "constant":
        return np.pad(x, widths, constant_values=np.asarray(constant_val).astype(x.dtype))
    return np.pad(x, widths, mode=kind)  # type: ignore[call-overload,no-any-return]


def fill(shape: Any, value: Any = 0.0) -> Array:
    """One value everywhere."""
    return np.full(_ints(shape), value)


def fill_like(ref_tensor: Array, value: Any = 0.0) -> Array:
    """One value in the shape of another tensor."""
    return np.full(ref_tensor.shape, value)


def range_1d(start: Any, end: Any, step: Any) -> Array:
    """From `start` to before `end`."""
    return np.arange(start, end, step)


def shape(x: Array) -> Array:
    """Sizes of the axes."""
    return np.array(x.shape, np.int32)


def reverse(x: Array, axes: Any = None) -> Array:
    """Back to front along the axes."""
    return np.flip(x, None if axes is None else tuple(_ints(axes)))


def one_hot(indices: Array, one_hot_vector_size: Any, axis: Any = -1, on_value: Any = 1, off_value: Any = 0) -> Array:
    """`on_value` at each index along a new axis."""
    hit = np.arange(int(one_hot_vector_size)) == indices[..., None]
    return np.moveaxis(np.where(hit, on_value, off_value), -1, int(axis))


def cumsum(x: Array, axis: Any = 0, exclusive: Any = False, reverse: Any = False) -> Array:
    """Sums of all before, the own element with them unless `exclusive`."""
    turned = np.flip(x, int(axis)) if reverse else x
    found = np.cumsum(turned, axis=int(axis), dtype=x.dtype)
    found = found - turned if exclusive else found
    return np.flip(found, int(axis)) if reverse else found


def band_part(x: Array, lower: Any = -1, upper: Any = -1) -> Array:
    """Zero outside a band around the diagonal."""
    rows, columns = np.indices(x.shape[-2:])
    inside = ((int(lower) < 0) | (rows - columns <= int(lower))) & ((int(upper) < 0) | (columns - rows <= int(upper)))
    return np.where(inside, x, np.zeros((), x.dtype))


def non_zero(x: Array) -> Array:
    """The places of all values but 0."""
    return np.argwhere(x).astype(np.int32)


TENSOR: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        identity, reshape, expand_dims, squeeze, transpose, concat, stack, split, tile, pad, fill, fill_like, range_1d,
        shape, reverse, one_hot, cumsum, band_part, non_zero,
    )
}  # fmt: skip
