"""Settings of VLM-Pruner, with the paper's defaults."""

from dataclasses import dataclass

from vlmprune_export.pruners.settings import check_boolean, check_integer, check_number


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
        """Checks every value against its range."""
        check_integer("pivots", self.pivots, 1, 64)
        check_integer("batch", self.batch, 1, 4096)
        check_integer("channels", self.channels, 1, 65536)
        check_number("distance_weight", self.distance_weight, 0, 10)
        check_number("threshold", self.threshold, -1, 100)
        check_number("threshold_step", self.threshold_step, 0.01, 100)
        check_number("beta", self.beta, 0, 1)
        check_boolean("aggregate", self.aggregate)
