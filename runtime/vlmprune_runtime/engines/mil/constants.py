"""A package's constants, each made once however many functions use it."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.engines.mil.blobs import Blobs
from vlmprune_runtime.engines.mil.ops.constexpr import CONSTEXPR
from vlmprune_runtime.engines.mil.program import Blob, Value

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Compressed:
    """A `constexpr_` operation and what it is made of."""

    type: str
    parts: dict[str, "Source"]


Source = Value | Compressed


class Constants:
    """Dense arrays of constants and compressed weights, float16 as float32."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._made: dict[Hashable, Array] = {}

    def array(self, source: Source) -> Array:
        """The constant as operations take it; not to be written to."""
        key = _key(source)
        if key not in self._made:
            made = widened(self._stored(source))
            made.flags.writeable = False
            self._made[key] = made
        return self._made[key]

    def _stored(self, source: Source) -> Array:
        """In its own dtype, as decompression computes."""
        if isinstance(source, Value):
            return self._blobs.array(source)
        dense: Array = CONSTEXPR[source.type](**{name: self._stored(part) for name, part in source.parts.items()})
        return dense


def widened(array: Array) -> Array:
    """A copy that computes: float16 as float32."""
    return array.astype(np.float32) if array.dtype in (np.float16, np.float32) else array.copy()


def _key(source: Source) -> Hashable:
    if isinstance(source, Compressed):
        return source.type, tuple((name, _key(part)) for name, part in sorted(source.parts.items()))
    stored = source.stored
    content = stored.tobytes() if isinstance(stored, np.ndarray) else stored
    return source.type, content if not isinstance(stored, Blob) else (stored.file, stored.offset)
