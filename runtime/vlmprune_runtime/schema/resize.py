"""Describes a resize: the mode that computes the new size, and the filter with its constants."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlmprune_runtime.schema.base import Positive, Record

Filter = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class Kernel(Record):
    """Describes a separable filter, run over the rows and then over the columns; each pass yields whole numbers.

    Output pixel i lies at c = (i + 1/2) * s in the image, s = given / resized. With w = support_px * max(s, 1), the
    pixels j from floor(c - w + 1/2) up to, without it, floor(c + w + 1/2) count, as far as the image has them, each
    with the filter's value at (j + 1/2 - c) / max(s, 1) divided by the sum of these values. The weights are computed
    in 64 bits and rounded to `weight_bits` binary places, halves away from zero; their sum of products plus one half
    is rounded down and clipped to 0..255. `nearest` takes pixel floor(c). Without `antialias` 1 stands for max(s, 1).
    `bicubic` is Keys' with `cubic_a`, `lanczos` sinc(x) sinc(x / 3) below 3, `bilinear` 1 - |x| below 1.
    """

    filter: Filter
    support_px: float
    cubic_a: float | None = None
    antialias: bool
    weight_bits: Literal[22] = 22
    passes: tuple[Literal["horizontal"], Literal["vertical"]] = ("horizontal", "vertical")
    between_passes: Literal["uint8"] = "uint8"

    @classmethod
    def of(cls, name: Filter) -> "Kernel":
        """Returns the kernel of a filter, with Pillow's constants.

        >>> Kernel.of("bicubic").support_px, Kernel.of("bicubic").cubic_a
        (2.0, -0.5)
        """
        support = {"nearest": 0.0, "bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}[name]
        cubic_a = -0.5 if name == "bicubic" else None
        return cls.model_construct(filter=name, support_px=support, cubic_a=cubic_a, antialias=name != "nearest")

    @model_validator(mode="after")
    def _constants_are_the_filters(self) -> "Kernel":
        known = Kernel.of(self.filter)
        for field in ("support_px", "cubic_a", "antialias"):
            got, allowed = getattr(self, field), getattr(known, field)
            if got != allowed:
                raise ValueError(f"{field} of {self.filter}: got {got}; allowed: {allowed}")
        return self


class Exact(Record):
    """Resizes to height x width, whatever the shape was."""

    mode: Literal["exact"] = "exact"
    height_px: Positive
    width_px: Positive


class ShortestEdge(Record):
    """Makes the shorter side `edge_px`; the longer side becomes edge_px * longer / shorter, rounded down."""

    mode: Literal["shortest_edge"] = "shortest_edge"
    edge_px: Positive


class LongestEdge(Record):
    """Makes the longer side `edge_px`; the shorter side follows, rounded down, and one more if that is odd.

    With r = width / height the shorter side is edge_px / r or edge_px * r, at least 1. Where `edge_px` is above
    `limit_px` the result is shrunk again, with its own r, so that its longer side is `limit_px`, this time only rounded
    down.
    """

    mode: Literal["longest_edge"] = "longest_edge"
    edge_px: Positive
    limit_px: Positive


class SmartMultiple(Record):
    """Resizes to multiples of `multiple_px`, within limits of the area, near the image's shape.

    Both sides are rounded to the nearest multiple (halves to the even one). If the area is then above `max_area_px`,
    with b = sqrt(height * width / max_area_px) they become side / b rounded down, at least one multiple; if it is
    below `min_area_px`, with b = sqrt(min_area_px / (height * width)) they become side * b rounded up.
    An image more than 200 times longer than wide is refused.
    """

    mode: Literal["smart_multiple"] = "smart_multiple"
    multiple_px: Positive
    min_area_px: Positive
    max_area_px: Positive


class NearestGrid(Record):
    """Resizes to the grid nearest in shape, of those given in multiples (high, wide); the first of equally near ones.

    The distance is the greater of width * high and height * wide, divided by the smaller.
    """

    mode: Literal["nearest_grid"] = "nearest_grid"
    multiple_px: Positive
    grids: Annotated[tuple[tuple[Positive, Positive], ...], Field(min_length=1)]


class WholeTiles(Record):
    """Rounds the longer side up to a multiple of `tile_px`; the shorter side follows, and is then rounded up, too.

    With r = width / height the shorter side is the new longer one / r or * r, rounded down before it is rounded up.
    """

    mode: Literal["whole_tiles"] = "whole_tiles"
    tile_px: Positive


Target = Annotated[
    Exact | ShortestEdge | LongestEdge | SmartMultiple | NearestGrid | WholeTiles, Field(discriminator="mode")
]
