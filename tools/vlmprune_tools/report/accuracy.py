"""The schema of accuracy records: the accuracy of a model over tasks, pruners and rates."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

UNPRUNED = "unpruned"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]


class AccuracyRow(BaseModel):
    """One task at one rate, with a 95 % interval from `low` to `high` over `n` questions.

    `method` is a pruner, or "unpruned" with `keep` = all visual tokens. `retained_percent` is 100 * accuracy over the
    unpruned accuracy, or null if that is 0.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: str
    method: str
    keep: Count
    accuracy: Share
    low: Share
    high: Share
    n: Count
    retained_percent: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class Questions(BaseModel):
    """The dataset; `templated` says that rules made the questions, not people."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    questions: Count
    pictures: Count
    templated: bool = False


class AccuracyRecord(BaseModel):
    """One evaluation. The evaluation writes more fields than these, which the report does not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["accuracy"]
    model: str
    visual_tokens: Count
    data: Questions | None = None
    rows: Annotated[tuple[AccuracyRow, ...], Field(min_length=1)]
    created: str | None = None
