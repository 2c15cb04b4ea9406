"""Describes how an image becomes pixels for the vision stage: by steps that a runner follows literally.

Sizes are in pixels, `width` is counted from the left and `height` from the top. Ratios are divided in 64 bits.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlmprune_runtime.schema.base import Finite, Positive, Record, Std
from vlmprune_runtime.schema.resize import Exact, Kernel, NearestGrid, ShortestEdge, Target

Byte = Annotated[int, Field(ge=0, le=255)]
Rgb = tuple[Byte, Byte, Byte]
BLACK: Rgb = (0, 0, 0)


class Orient(Record):
    """Turns and mirrors the image as its EXIF tag says; without a readable EXIF block it stays as it is stored."""

    step: Literal["orient"] = "orient"
    exif_tag: Literal[274] = 274


class Colour(Record):
    """Makes 8-bit RGB: transparency is laid over `background`, deeper grey scaled to 0..255, a profile ignored.

    Where the opacity is a of 255, value v becomes (v * a + 255 * (255 - a)) / 255, rounded. A grey v of 16 bits becomes
    v / 257, rounded.
    """

    step: Literal["colour"] = "colour"
    space: Literal["rgb"] = "rgb"
    background: tuple[Literal[255], Literal[255], Literal[255]] = (255, 255, 255)
    icc_profile: Literal["ignored"] = "ignored"


class Pad(Record):
    """Makes the image a square of its longer side; of an odd number of new lines the smaller half comes before."""

    step: Literal["pad"] = "pad"
    to: Literal["square"] = "square"
    position: Literal["centre"] = "centre"
    colour: Rgb


class Resize(Record):
    """Resizes the image to the size that `to` gives, with one kernel."""

    step: Literal["resize"] = "resize"
    to: Target
    kernel: Kernel


class Crop(Record):
    """Crops to the centre: the first pixel is (size - crop) / 2 rounded down.

    A smaller image is padded instead; of an odd number of new lines the smaller half comes before.
    """

    step: Literal["crop"] = "crop"
    height_px: Positive
    width_px: Positive
    position: Literal["centre"] = "centre"
    colour: Rgb = BLACK


class Split(Record):
    """Cuts the image into square tiles, row by row, and adds the whole image, resized to one tile, as the last.

    An image of at most one tile stays one view. The sides are multiples of `tile_px`.
    """

    step: Literal["split"] = "split"
    tile_px: Positive
    whole: Literal["last"] = "last"
    kernel: Kernel


class Rescale(Record):
    """Multiplies every value by `factor`, in 32-bit floats."""

    step: Literal["rescale"] = "rescale"
    factor: Finite


class Normalise(Record):
    """Subtracts `mean` and divides by `std`, per channel, in 32-bit floats."""

    step: Literal["normalise"] = "normalise"
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Std, Std, Std]


class Layout(Record):
    """Puts the channels first: (3, height, width)."""

    step: Literal["layout"] = "layout"
    order: Literal["chw"] = "chw"
    dtype: Literal["float32"] = "float32"


GeometricStep = Pad | Resize | Crop
Step = Annotated[
    Orient | Colour | Pad | Resize | Crop | Split | Rescale | Normalise | Layout, Field(discriminator="step")
]


class Size(Record):
    """Holds height and width in pixels."""

    height_px: Positive
    width_px: Positive


class ImageSpec(Record):
    """Holds the steps that turn an image into the pixels of its views; a view's size selects its grid in `grids`."""

    steps: tuple[Step, ...]

    @property
    def geometric_steps(self) -> tuple[GeometricStep, ...]:
        """The steps that move the pixels of the whole image."""
        return tuple(step for step in self.steps if isinstance(step, GeometricStep))

    @property
    def split(self) -> Split | None:
        """The step that splits the image into tiles, None if there is none."""
        return next((step for step in self.steps if isinstance(step, Split)), None)

    @property
    def rescale(self) -> Rescale:
        """The step that scales values."""
        return next(step for step in self.steps if isinstance(step, Rescale))

    @property
    def normalise(self) -> Normalise:
        """The step that normalises values."""
        return next(step for step in self.steps if isinstance(step, Normalise))

    @property
    def view_size(self) -> Size | None:
        """The size of every view after preprocessing, None if it depends on the image."""
        if self.split:
            return _square(self.split.tile_px)
        size, square = None, False
        for step in self.geometric_steps:
            size = _size_after(step, size, square)
            square = isinstance(step, Pad) or (size is not None and size.height_px == size.width_px)
        return size

    @model_validator(mode="after")
    def _steps_are_in_order(self) -> "ImageSpec":
        moves = [step.step for step in self.geometric_steps]
        split = ["split"] if self.split else []
        order = ["orient", "colour", *moves, *split, "rescale", "normalise", "layout"]
        if [step.step for step in self.steps] != order:
            raise ValueError(f"steps are out of order or missing; allowed with these: {', '.join(order)}")
        return self


def _size_after(step: GeometricStep, size: Size | None, square: bool) -> Size | None:
    """Returns the size after a step if all images have the same; `square` says that they are square before it."""
    if isinstance(step, Crop):
        return Size(height_px=step.height_px, width_px=step.width_px)
    if isinstance(step, Pad):
        return size and _square(max(size.height_px, size.width_px))
    return _size_resized(step.to, square)


def _size_resized(to: Target, square: bool) -> Size | None:
    if isinstance(to, Exact):
        return Size(height_px=to.height_px, width_px=to.width_px)
    if isinstance(to, NearestGrid) and len(to.grids) == 1:
        high, wide = to.grids[0]
        return Size(height_px=high * to.multiple_px, width_px=wide * to.multiple_px)
    return _square(to.edge_px) if isinstance(to, ShortestEdge) and square else None


def _square(side_px: int) -> Size:
    return Size(height_px=side_px, width_px=side_px)


def image_steps(
    moves: Iterable[GeometricStep | Split] = (),
    *,
    factor: float = 1 / 255,
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> tuple[Step, ...]:
    """Returns all steps in order around those that move pixels."""
    return (
        *(Orient(), Colour()),
        *moves,
        *(Rescale(factor=factor), Normalise(mean=mean, std=std), Layout()),
    )
