"""Styles of scenes, which differ in difficulty."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Style:
    """The difficulty of scenes; `small_bias` > 1 makes small objects more frequent.

    `kinds`: one, row, column (two objects, well apart), many (`fewest` to `most`), same (one to five alike), empty.
    `related_fraction` of the scenes have objects of one group. `clutter_fraction` have shapes scattered behind.
    `flat_fraction` of the plain backgrounds are one colour to the last bit. `augmented_fraction` of the objects are
    turned, stretched and recoloured a little, so that a model learns more than one vendor's pixels.
    """

    min_px: int = 24
    max_px: int = 150
    crowd_max_px: int = 100
    small_bias: float = 1.0
    fewest: int = 2
    most: int = 8
    related_fraction: float = 0.3
    clutter_fraction: float = 0.2
    flat_fraction: float = 0.25
    augmented_fraction: float = 0.0
    kinds: Mapping[str, float] = field(
        default_factory=lambda: {"one": 0.34, "row": 0.20, "column": 0.20, "many": 0.14, "same": 0.12}
    )
    backgrounds: Mapping[str, float] = field(
        default_factory=lambda: {"plain": 0.4, "noise": 0.2, "gradient": 0.2, "photo": 0.2}
    )


MIXED_BACKGROUNDS = {"plain": 0.3, "noise": 0.2, "gradient": 0.2, "photo": 0.3}
STYLES = {
    "easy": Style(
        64, 130, most=4, related_fraction=0.0, clutter_fraction=0.0, flat_fraction=0.0, backgrounds={"plain": 1.0}
    ),
    "hard": Style(),
    "single": Style(kinds={"one": 1.0}),
    "bare": Style(kinds={"empty": 1.0}, backgrounds={"plain": 0.35, "noise": 0.15, "photo": 0.5}, flat_fraction=0.5),
    "drill": Style(
        small_bias=1.4,
        augmented_fraction=0.3,
        kinds={"one": 0.30, "row": 0.15, "column": 0.15, "many": 0.28, "same": 0.10, "empty": 0.02},
        backgrounds=MIXED_BACKGROUNDS,
    ),
    "few": Style(most=5, augmented_fraction=0.15, kinds={"many": 0.45, "same": 0.35, "row": 0.20}),
    "crowd": Style(
        crowd_max_px=90,
        fewest=9,
        most=13,
        related_fraction=0.0,
        augmented_fraction=0.3,
        kinds={"many": 1.0},
        backgrounds=MIXED_BACKGROUNDS,
    ),
}


def weighted_choice(weights: Mapping[str, float], rng: random.Random) -> str:
    """Chooses a key with the probability that its weight gives."""
    return rng.choices(list(weights), list(weights.values()))[0]
