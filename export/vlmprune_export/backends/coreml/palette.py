"""Sixteen values that stand for all of a group's weights: one-dimensional k-means, the same on every run."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

COLOURS = 16
_ROUNDS = 50


def palette(weights: Array) -> tuple[Array, Array]:  # (...) -> (16,), (n,) uint8
    """The palette, ascending, and for each weight its place in it.

    >>> colours, places = palette(np.array([[0.0, 1.0], [1.0, 5.0]], np.float32))
    >>> colours[places].tolist()
    [0.0, 1.0, 1.0, 5.0]
    """
    values, inverse, counts = np.unique(weights, return_inverse=True, return_counts=True)
    if len(values) <= COLOURS:
        return np.pad(values, (0, COLOURS - len(values)), mode="edge"), inverse.ravel().astype(np.uint8)
    colours = _settled(values.astype(np.float64), counts).astype(weights.dtype)
    return colours, _nearest(colours.astype(np.float64), values)[inverse.ravel()].astype(np.uint8)


def _settled(values: Array, counts: Array) -> Array:
    """Lloyd's rounds on distinct sorted values with their counts, from equal shares of all weights on."""
    amounts, sums = _cumulative(counts), _cumulative(counts * values)
    shares = (np.arange(COLOURS) + 0.5) / COLOURS * amounts[-1]
    colours: Array = values[np.searchsorted(amounts[1:], shares)]
    for _ in range(_ROUNDS):
        edges = np.searchsorted(values, (colours[1:] + colours[:-1]) / 2)
        edges = np.concatenate([[0], edges, [len(values)]])
        amount, total = np.diff(amounts[edges]), np.diff(sums[edges])
        moved = np.sort(np.where(amount > 0, total / np.maximum(amount, 1), colours))
        if np.array_equal(moved, colours):
            break
        colours = moved
    return colours


def _nearest(colours: Array, values: Array) -> Array:
    places: Array = np.searchsorted((colours[1:] + colours[:-1]) / 2, values)
    return places


def _cumulative(numbers: Array) -> Array:
    sums: Array = np.concatenate([[0], np.cumsum(numbers)])
    return sums
