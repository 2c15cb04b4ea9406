"""Resolves a package's constants; functions that use the same constant share one array."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.mil_reference.ops.constexpr import CONSTEXPR
from vlmprune_runtime.mil_reference.program import Value, WeightLocation
from vlmprune_runtime.mil_reference.weights import WeightFiles

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Compressed:
    """Holds a `constexpr_` operation and its arguments."""

    type: str
    parts: dict[str, "Source"]


Source = Value | Compressed


class Constants:
    """Gives constants and compressed weights as dense arrays, float16 as float32."""

    def __init__(self, files: WeightFiles) -> None:
        self._files = files
        self._made: dict[Hashable, Array] = {}

    def array(self, source: Source) -> Array:
        """Returns the constant in the dtype in which operations compute; the array is read-only."""
        key = _key(source)
        if key not in self._made:
            array = widened(self._stored(source))
            array.flags.writeable = False
            self._made[key] = array
        return self._made[key]

    def _stored(self, source: Source) -> Array:
        """Returns the constant in its own dtype, in which decompression computes."""
        if isinstance(source, Value):
            return self._files.array(source)
        dense: Array = CONSTEXPR[source.type](**{name: self._stored(part) for name, part in source.parts.items()})
        return dense


def widened(array: Array) -> Array:
    """Returns a copy in the dtype in which operations compute: float32 for float16."""
    return array.astype(np.float32) if array.dtype in (np.float16, np.float32) else array.copy()


def _key(source: Source) -> Hashable:
    if isinstance(source, Compressed):
        return source.type, tuple((name, _key(part)) for name, part in sorted(source.parts.items()))
    stored = source.stored
    content = stored.tobytes() if isinstance(stored, np.ndarray) else stored
    return source.type, content if not isinstance(stored, WeightLocation) else (stored.file, stored.offset)
