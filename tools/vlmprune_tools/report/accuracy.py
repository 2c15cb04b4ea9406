"""The accuracy record: accuracy of a bundle or a model over tasks, pruners and rates."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

UNPRUNED = "unpruned"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]


class AccuracyRow(BaseModel):
    """One task at one rate. `low`, `high`: its 95 % interval. `n`: questions.

    `method` is a pruner, or "unpruned" with `keep` = all visual tokens; `retained_percent` is 100 * accuracy over
    the unpruned accuracy, which is no percentage of anything when that is 0: null.
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
    """What was asked about; `templated`: the questions are made by rule, not asked by people."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    questions: Count
    pictures: Count
    templated: bool = False


class AccuracyRecord(BaseModel):
    """One evaluation. Fields that are not listed here are the evaluation's own and stay unread."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["accuracy"]
    model: str
    visual_tokens: Count
    data: Questions | None = None
    rows: Annotated[tuple[AccuracyRow, ...], Field(min_length=1)]
    created: str | None = None
