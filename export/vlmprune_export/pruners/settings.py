"""What can be set on a pruner, with the paper's defaults, and how wishes are checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from vlmprune_runtime.errors import BadRequest

S = TypeVar("S")


@dataclass(frozen=True)
class VlmPrunerSettings:
    """Settings of VLM-Pruner (arXiv 2512.02700); the decoder layer it runs before belongs to the model cut.

    `distance_weight` is the paper's lambda, `channels` its q, `batch` its B, `beta` the share of itself that
    a kept token keeps in the aggregation. `threshold` grows by `threshold_step` from round to round.
    """

    pivots: int = 4
    distance_weight: float = 0.5
    threshold: float = 0.8
    threshold_step: float = 0.1
    batch: int = 16
    channels: int = 256
    beta: float = 0.3
    aggregate: bool = True

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        check_integer("pivots", self.pivots, 1, 64)
        check_integer("batch", self.batch, 1, 4096)
        check_integer("channels", self.channels, 1, 65536)
        check_number("distance_weight", self.distance_weight, 0, 10)
        check_number("threshold", self.threshold, -1, 100)
        check_number("threshold_step", self.threshold_step, 0.01, 100)
        check_number("beta", self.beta, 0, 1)
        if not isinstance(self.aggregate, bool):
            raise BadRequest(f"aggregate is {self.aggregate!r}; allowed: true or false")


def read_settings(kind: type[S], method: str, given: Mapping[str, Any]) -> S:
    """The settings of a pruner from names and values; a name it does not have is refused."""
    allowed = sorted(field.name for field in fields(kind))  # type: ignore[arg-type]
    for name in given:
        if name not in allowed:
            choices = ", ".join(allowed) or "none"
            raise BadRequest(f"pruner {method!r} has no setting {name!r}; allowed: {choices}")
    return kind(**given)


def check_integer(name: str, got: object, least: int, most: int) -> None:
    """Refuse anything but a whole number from `least` to `most`."""
    if isinstance(got, bool) or not isinstance(got, int) or not least <= got <= most:
        raise BadRequest(f"{name} is {got!r}; allowed: a whole number from {least} to {most}")


def check_number(name: str, got: object, least: float, most: float) -> None:
    """Refuse anything but a number from `least` to `most`; NaN is none."""
    if isinstance(got, bool) or not isinstance(got, int | float) or not least <= got <= most:
        raise BadRequest(f"{name} is {got!r}; allowed: a number from {least} to {most}")
