"""Splits weights that take few values into a look-up table and indices into it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_export.quantisation_grids import LUT_SIZE

Array = npt.NDArray[Any]


def lookup_table(weights: Array) -> tuple[Array, Array]:  # (...) -> (16,), (n,) uint8
    """Returns the values, ascending, and each weight's index. Raises `ValueError` for more values than the table holds.

    >>> colours, places = lookup_table(np.array([[0.0, 1.0], [1.0, 5.0]], np.float32))
    >>> colours[places].tolist()
    [0.0, 1.0, 1.0, 5.0]
    """
    values, places = np.unique(weights, return_inverse=True)
    if len(values) > LUT_SIZE:
        raise ValueError(f"a group has {len(values)} different weights; allowed: at most {LUT_SIZE}")
    return np.pad(values, (0, LUT_SIZE - len(values)), mode="edge"), places.ravel().astype(np.uint8)
