"""How hard scenes are."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Style:
    """How hard scenes are; `small_bias` > 1 makes small objects more frequent.

    `kinds`: one, row, column (two objects, well apart), many (`fewest` to `most`), same (one to five alike), empty.
    `kin`: share of scenes whose objects are kindred, near-duplicates. `clutter`: share with shapes strewn behind.
    `flat`: share of plain backgrounds that are one colour to the last bit. `varied`: share of pictures of an object
    that are turned, stretched and recoloured a little, so that more is learned than one vendor's pixels.
    """

    min_px: int = 24
    max_px: int = 150
    crowd_max_px: int = 100
    small_bias: float = 1.0
    fewest: int = 2
    most: int = 8
    kin: float = 0.3
    clutter: float = 0.2
    flat: float = 0.25
    varied: float = 0.0
    kinds: Mapping[str, float] = field(
        default_factory=lambda: {"one": 0.34, "row": 0.20, "column": 0.20, "many": 0.14, "same": 0.12}
    )
    backgrounds: Mapping[str, float] = field(
        default_factory=lambda: {"plain": 0.4, "noise": 0.2, "gradient": 0.2, "photo": 0.2}
    )


STYLES = {
    "easy": Style(64, 130, 100, most=4, kin=0.0, clutter=0.0, flat=0.0, backgrounds={"plain": 1.0}),
    "hard": Style(),
    "single": Style(kinds={"one": 1.0}),
    "bare": Style(kinds={"empty": 1.0}, backgrounds={"plain": 0.35, "noise": 0.15, "photo": 0.5}, flat=0.5),
    "drill": Style(
        small_bias=1.4,
        varied=0.3,
        kinds={"one": 0.30, "row": 0.15, "column": 0.15, "many": 0.28, "same": 0.10, "empty": 0.02},
        backgrounds={"plain": 0.3, "noise": 0.2, "gradient": 0.2, "photo": 0.3},
    ),
    "few": Style(fewest=2, most=5, varied=0.15, kinds={"many": 0.45, "same": 0.35, "row": 0.20}),
    "crowd": Style(
        crowd_max_px=90,
        fewest=9,
        most=13,
        kin=0.0,
        varied=0.3,
        kinds={"many": 1.0},
        backgrounds={"plain": 0.3, "noise": 0.2, "gradient": 0.2, "photo": 0.3},
    ),
}


def pick(weights: Mapping[str, float], rng: random.Random) -> str:
    """One key, as often as its weight says."""
    return rng.choices(list(weights), list(weights.values()))[0]
