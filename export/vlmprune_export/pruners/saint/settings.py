"""Settings of SAINT, with the released defaults."""

from dataclasses import dataclass

from vlmprune_export.pruners.settings import check_integer, check_number


@dataclass(frozen=True)
class SaintSettings:
    """Settings of SAINT: `rounds` stands for the ten layers at which the released code drops tokens.

    A token is voted out if its `neighbours`-th most similar neighbour reaches the round's threshold; `gamma` weighs how
    far its neighbours lie above the threshold.
    """

    rounds: int = 10
    neighbours: int = 5
    gamma: float = 10.0

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        check_integer("rounds", self.rounds, 1, 64)
        check_integer("neighbours", self.neighbours, 1, 4096)
        check_number("gamma", self.gamma, 0, 40)


def saint_layer(layers: int) -> int:
    """Returns a quarter of the decoder, where the released code begins to drop tokens of 32 layers."""
    return max(1, layers // 4)
