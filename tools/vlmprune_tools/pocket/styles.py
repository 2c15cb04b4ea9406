"""How hard scenes are."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Style:
    """How hard scenes are; `small_bias` > 1 makes small objects more frequent."""

    min_px: int = 40
    max_px: int = 150
    crowd_max_px: int = 100
    small_bias: float = 1.0
    kinds: Mapping[str, float] = field(
        default_factory=lambda: {"one": 0.34, "row": 0.20, "column": 0.20, "many": 0.14, "same": 0.12}
    )
    backgrounds: Mapping[str, float] = field(
        default_factory=lambda: {"plain": 0.4, "noise": 0.2, "gradient": 0.2, "photo": 0.2}
    )


STYLES = {
    "easy": Style(64, 130, backgrounds={"plain": 1.0}),
    "hard": Style(),
    "drill": Style(
        36,
        150,
        small_bias=1.7,
        kinds={"one": 0.46, "row": 0.16, "column": 0.16, "many": 0.14, "same": 0.08},
        backgrounds={"plain": 0.25, "noise": 0.25, "gradient": 0.2, "photo": 0.3},
    ),
}


def pick(weights: Mapping[str, float], rng: random.Random) -> str:
    """One key, as often as its weight says."""
    return rng.choices(list(weights), list(weights.values()))[0]
