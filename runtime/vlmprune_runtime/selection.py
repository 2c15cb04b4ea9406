"""Holds what a cut kept, and checks what a prune stage gave."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.errors import EngineError

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """Holds what a cut kept of one view: `kept` (K,) among the view's tokens at that cut, `fused` (K, D), `rank` (K,).

    `cells` (K,) are the places of the kept tokens on the view's grid, and `cut` is the prune stage. Where tiles are
    pruned together, K may differ by view, and be 0; ranks are those among the tokens of all these tiles.
    """

    kept: Indices
    fused: Array
    rank: Indices
    cells: Indices
    view: int = 0
    cut: str = "prune"


def counted(stage: str, outputs: Tensors) -> Tensors:
    """Returns the outputs of a prune stage without padding: it may keep fewer tokens than it has rows for.

    Raises `EngineError` for an impossible count.
    """
    if "count" not in outputs:
        return outputs
    count, rows = int(outputs["count"][0]), len(outputs["kept"])
    if not 1 <= count <= rows:
        raise EngineError(stage, f"count is {count}; allowed: 1 to {rows}")
    return {name: outputs[name][:count] for name in ("kept", "fused", "rank")}


def check_kept(stage: str, kept: Indices, visual_tokens: int) -> None:
    """Raises `EngineError` unless the places that a cut kept are a rising list below the number of its tokens."""
    rising = kept.ndim == 1 and bool((np.diff(kept) > 0).all())
    if not (rising and kept.size and kept[0] >= 0 and kept[-1] < visual_tokens):
        raise EngineError(stage, f"kept is not a rising list of places below {visual_tokens}")
