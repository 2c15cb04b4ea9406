"""One golden case, and how results are compared with it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class GoldenCase:
    """A case: `compare` runs the method and returns the first difference from the golden result, None if equal."""

    name: str
    method: str
    compare: Callable[[], str | None]

    def difference(self) -> str | None:
        """Returns the first difference; whatever keeps the case from running is one."""
        try:
            with torch.inference_mode():
                return self.compare()
        except KeyError as missing:
            return f"the case has no {missing}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def tensor(array: Array) -> Tensor:
    """Returns an array as an fp32 tensor."""
    return torch.tensor(array.astype(np.float32))


def different_indices(name: str, ours: Iterable[int], golden: Iterable[int]) -> str | None:
    """Returns how two rows of indices differ.

    >>> different_indices("kept", [1, 2, 5], [1, 3, 5])
    'kept: 1 of 3 differ, first place 1: got 2, expected 3'
    """
    got, expected = [int(one) for one in ours], [int(one) for one in golden]
    if len(got) != len(expected):
        return f"{name}: got {len(got)} indices, expected {len(expected)}"
    places = [nth for nth, pair in enumerate(zip(got, expected, strict=True)) if pair[0] != pair[1]]
    if not places:
        return None
    at, count = places[0], f"{len(places)} of {len(got)}"
    return f"{name}: {count} differ, first place {at}: got {got[at]}, expected {expected[at]}"


def different_rows(name: str, ours: Tensor, golden: Array, tolerance: float) -> str | None:  # (R, D), (R, D)
    """Returns how two matrices differ, if any numbers are further apart than the tolerance.

    >>> different_rows("fused", torch.zeros(2, 3), np.array([[0, 0, 0], [0, 0.5, 0]]), 1e-4)
    'fused: row 1 differs by 0.5, allowed 0.0001'
    """
    if tuple(ours.shape) != golden.shape:
        return f"{name}: got shape {tuple(ours.shape)}, expected {golden.shape}"
    apart = np.abs(ours.double().numpy() - golden.astype(np.float64)).max(1)
    row = int(np.flatnonzero(~(apart <= tolerance))[0]) if not (apart <= tolerance).all() else -1
    return None if row < 0 else f"{name}: row {row} differs by {apart[row]:.3g}, allowed {tolerance:g}"


def first_difference(*differences: str | None) -> str | None:
    """Returns the first of several comparisons that found something.

    >>> first_difference(None, "kept: ...", "fused: ...")
    'kept: ...'
    """
    return next((one for one in differences if one is not None), None)
