"""How a picture becomes pixels for the vision stage, as data that a runner follows."""

from typing import Literal

from pydantic import model_validator

from vlmprune_runtime.schema.base import Finite, Positive, Record, Std


class Resize(Record):
    """`shortest_edge`: keep the aspect ratio, the edge in both sizes; `exact`: to height x width."""

    mode: Literal["shortest_edge", "exact"]
    height_px: Positive
    width_px: Positive
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"]

    @model_validator(mode="after")
    def _one_shortest_edge(self) -> "Resize":
        if self.mode == "shortest_edge" and self.height_px != self.width_px:
            raise ValueError("shortest_edge needs height_px and width_px to be that edge both")
        return self


class Size(Record):
    """Height and width in pixels."""

    height_px: Positive
    width_px: Positive


class ImageSpec(Record):
    """RGB -> resize -> centre crop -> pad -> x * rescale -> (x - mean) / std, channels first."""

    resize: Resize | None
    crop: Size | None
    rescale: Finite
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Std, Std, Std]
    grid_height: Positive
    grid_width: Positive

    @property
    def seen(self) -> Size | None:
        """Size of every picture after preprocessing, None where it depends on the picture."""
        if self.crop or self.resize is None or self.resize.mode != "exact":
            return self.crop
        return Size(height_px=self.resize.height_px, width_px=self.resize.width_px)
