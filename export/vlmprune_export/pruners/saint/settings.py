"""Settings of SAINT, with the released defaults."""

from dataclasses import dataclass

from vlmprune_export.pruners.grid import LARGEST_SIDE
from vlmprune_export.pruners.needs import Place, place_of_layer
from vlmprune_export.pruners.settings import check_boolean, check_integer, check_number
from vlmprune_runtime.errors import BadRequest


@dataclass(frozen=True)
class SaintSettings:
    """Settings of SAINT: `rounds` stands for the ten layers at which the released code drops tokens.

    A token is voted out if its `neighbours`-th most similar neighbour reaches the round's threshold; `gamma` weighs how
    far its neighbours lie above the threshold. `place` is where tokens are dropped: before a decoder layer, inside the
    vision tower, or both; then `vision_keep` tokens leave the tower, None for 375 of 576, or K if that is more. In the
    tower, the first round drops one of `tower_step` tokens.

    With `adaptive` K is the most tokens that stay before a decoder layer: a round drops as many as are voted out at
    `threshold`, as the released code does, and only where too many would be left the threshold is lower.
    """

    rounds: int = 10
    neighbours: int = 5
    gamma: float = 10.0
    place: str = "layer"
    vision_keep: int | None = None
    tower_step: int = 16
    adaptive: bool = False
    threshold: float = 0.83

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        check_integer("rounds", self.rounds, 1, 64)
        check_integer("neighbours", self.neighbours, 1, 4096)
        check_number("gamma", self.gamma, 0, 40)
        check_integer("tower_step", self.tower_step, 1, LARGEST_SIDE**2)
        check_boolean("adaptive", self.adaptive)
        check_number("threshold", self.threshold, -1, 2)
        if self.place not in ("layer", "tower", "both"):
            raise BadRequest(f"place is {self.place!r}; allowed: layer, tower, both")
        if self.adaptive and self.place == "tower":
            raise BadRequest("adaptive is true; in the tower a fixed number stays; allowed: with place=layer or both")
        if self.vision_keep is not None:
            check_integer("vision_keep", self.vision_keep, 1, LARGEST_SIDE**2)
            if self.place != "both":
                raise BadRequest("vision_keep is the first of two cuts; allowed: with place=both")


def saint_layer(layers: int) -> int:
    """Returns a quarter of the decoder, where the released code begins to drop tokens of 32 layers."""
    return max(1, layers // 4)


def saint_places(settings: SaintSettings, layer: int) -> tuple[Place, ...]:
    """Returns where the method cuts. Raises `BadRequest` for a second cut before the first decoder layer."""
    if settings.place == "layer":
        return place_of_layer(settings, layer)
    if settings.place == "tower":
        return (Place("vision"),)
    if layer == 0:
        raise BadRequest("place=both cuts again before a decoder layer; got layer 0")
    return (Place("vision", settings.vision_keep or tower_keep), Place("layer"))


def tower_keep(tokens: int, keep: int) -> int:
    """Returns how many tokens leave the tower if more are dropped later.

    >>> tower_keep(576, 64), tower_keep(576, 400)
    (375, 400)
    """
    return max(keep, round(tokens * 375 / 576))
