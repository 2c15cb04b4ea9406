"""The schema of the methods' record: one row per method and rate with its accuracy, and its speed on every engine."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SIGNIFICANT = 0.05  # of the sign test, which is not corrected for the number of methods
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Measured = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Speed(BaseModel):
    """What a bundle of one method took on one engine, both modes interleaved, as medians.

    `first_token_fraction` is the pruned over the unpruned time to the first token, the median over pairs, with
    the 10th and 90th percentile: it means something on a busy machine too, which milliseconds do not. `memory_bytes` is
    what the process grew by. `selection_ms` sums the prune stages.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    engine: str
    selection_ms: Measured
    first_token_ms: Measured
    first_token_unpruned_ms: Measured
    first_token_fraction: Positive
    fraction_low: Positive
    fraction_high: Positive
    stages_ms: dict[str, Measured]
    flops: Count | None
    memory_bytes: Count | None
    repetitions: Count


class MethodRow(BaseModel):
    """One method at one rate. `keep` is the rate that all share, `kept_tokens` the method's own K.

    Accuracies are fractions, means over tasks of equal weight. `difference` is to the first method at this rate, with
    a paired interval; None for the first one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    method: str
    keep: Count
    kept_tokens: Count
    mean_visual_tokens: Positive
    questions: Count
    accuracy: Share
    low: Share
    high: Share
    retained_percent: float | None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None
    speeds: tuple[Speed, ...] = ()

    @property
    def apart(self) -> bool:
        """Returns whether the method is told apart from the first one, by the interval and by the exact sign test."""
        if self.difference_low is None or self.difference_high is None or self.p_value is None:
            return False
        return self.p_value < SIGNIFICANT and not self.difference_low <= 0 <= self.difference_high


class MethodsRecord(BaseModel):
    """All methods of one model. `against` is the method that differences are to, `task` the mean that rows are of."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["methods"] = "methods"
    model: str
    visual_tokens: Count
    task: str
    data: str
    against: str
    unpruned: dict[str, Share]
    rows: Annotated[tuple[MethodRow, ...], Field(min_length=1)]
    notes: tuple[str, ...] = ()
    machine: str = ""
