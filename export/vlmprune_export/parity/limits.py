"""Limits of the difference between a bundle and PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """`relative`: RMS of the difference over RMS of the reference, per stage on identical inputs.

    `tokens_fraction`: share of generated tokens on which both choose alike; `overlap_fraction`: share of kept tokens
    in common when each runs its own prefill. The greedy selection is chaotic: quantised features move one early
    choice and many later ones with it, without harm, so there the overlap is reported, not limited. Kept indices
    on identical inputs must always be equal, but for a prune stage with quantised layers of the tower: there `relative`
    limits the share of kept tokens that are others.
    """

    relative: float
    tokens_fraction: float
    overlap_fraction: float


# Unquantised graphs differ by rounding only, "fp16" ones by that of float16. Quantised ones are held to what a usable
# model needs.
LIMITS: Mapping[str, Limits] = {
    "none": Limits(relative=1e-3, tokens_fraction=1.0, overlap_fraction=1.0),
    "int8": Limits(relative=0.25, tokens_fraction=0.75, overlap_fraction=0.0),
    "int4": Limits(relative=0.60, tokens_fraction=0.60, overlap_fraction=0.0),
    "fp16": Limits(relative=0.02, tokens_fraction=0.9, overlap_fraction=0.0),
    "8da8w": Limits(relative=0.25, tokens_fraction=0.75, overlap_fraction=0.0),
    "8da4w": Limits(relative=0.60, tokens_fraction=0.60, overlap_fraction=0.0),
    "pal4": Limits(relative=0.60, tokens_fraction=0.60, overlap_fraction=0.0),
}


def limits_for(quantisation: str, *, half: bool) -> Limits:
    """Returns the limits of a quantisation; `half` says that the bundle computes in float16.

    >>> limits_for("none", half=True) is LIMITS["fp16"]
    True
    """
    return LIMITS["fp16" if half and quantisation == "none" else quantisation]
