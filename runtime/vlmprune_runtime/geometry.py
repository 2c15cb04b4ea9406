"""Computes where the views that the model sees lie in the given image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Literal, NamedTuple

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.resize_modes import padded_side, resized_size
from vlmprune_runtime.schema import Crop, ImageSpec, Kernel, Pad, Resize, Split
from vlmprune_runtime.schema.image import BLACK, Rgb

Box = tuple[float, float, float, float]
GeometricStep = Pad | Resize | Crop


class Span(NamedTuple):
    """Names the pixels `first` to `stop` - 1 of one axis."""

    first: int
    stop: int

    @property
    def px(self) -> int:
        """The number of pixels."""
        return self.stop - self.first


@dataclass(frozen=True)
class Axis:
    """Describes one axis of a padding, a resize and a crop.

    `input_px` pixels are padded to `padded_px`, of which `pad_before_px` come before the image; these are resized to
    `resized_px`; the crop takes `crop_px` of them from `crop_start_px` on. `crop_start_px` is negative if the crop is
    larger than the resized image, and so pads it.
    """

    input_px: int
    pad_before_px: int
    padded_px: int
    resized_px: int
    crop_start_px: int
    crop_px: int

    @property
    def cropped(self) -> Span:
        """The resized pixels that the crop keeps."""
        return Span(max(self.crop_start_px, 0), min(self.crop_start_px + self.crop_px, self.resized_px))

    @property
    def scale(self) -> float:
        """The number of padded pixels per resized pixel."""
        return self.padded_px / self.resized_px

    def cropped_content(self, support_px: float) -> Span:
        """Returns the cropped pixels that may depend on the image, and not on padding alone."""
        reach, cropped = self._reach(support_px), self.cropped
        first = floor((self.pad_before_px - reach) / self.scale)
        stop = ceil((self.pad_before_px + self.input_px + reach) / self.scale)
        return Span(max(first, cropped.first), min(stop, cropped.stop))

    def source(self, resized: Span, support_px: float) -> Span:
        """Returns the padded pixels that these resized pixels depend on."""
        reach = self._reach(support_px)
        first, stop = floor(self.to_padded(resized.first)) - reach, ceil(self.to_padded(resized.stop)) + reach
        return Span(max(first, 0), min(stop, self.padded_px))

    def to_padded(self, resized_px: int) -> float:
        """Returns the position in the padded image of a position in the resized image."""
        return resized_px * self.padded_px / self.resized_px

    def _reach(self, support_px: float) -> int:
        return ceil(support_px * max(1.0, self.scale)) + 1


@dataclass(frozen=True)
class Placement:
    """Describes both axes of a padding, a resize and a crop that follow each other; each of them may change nothing."""

    height: Axis
    width: Axis
    kernel: Kernel | None = None
    pad_colour: Rgb = BLACK
    crop_colour: Rgb = BLACK

    def after(self, step: GeometricStep) -> "Placement":
        """Returns the placement with one more step in it."""
        height, width = self.height.crop_px, self.width.crop_px
        if isinstance(step, Pad):
            side = padded_side(height, width)
            return replace(self, height=_padded(height, side), width=_padded(width, side), pad_colour=step.colour)
        if isinstance(step, Resize):
            sizes = zip((self.height, self.width), resized_size(height, width, step.to), strict=True)
            high, wide = (replace(axis, resized_px=size, crop_px=size) for axis, size in sizes)
            return replace(self, height=high, width=wide, kernel=step.kernel)
        high, wide = _cropped(self.height, step.height_px), _cropped(self.width, step.width_px)
        return replace(self, height=high, width=wide, crop_colour=step.colour)


@dataclass(frozen=True)
class View:
    """Describes a view of an image: `box` is its left, top, right and bottom edge in the image, padding included.

    `height_px` and `width_px` are its size after preprocessing. Rows and columns of tiles are counted from 0.
    """

    role: Literal["only", "tile", "whole"]
    box: Box
    height_px: int
    width_px: int
    row: int | None = None
    column: int | None = None


def placements(height_px: int, width_px: int, steps: Iterable[GeometricStep]) -> list[Placement]:
    """Returns the placements that the steps amount to; each joins a padding, a resize and a crop in this order."""
    joined, last = [_identity(height_px, width_px)], -1
    for step in steps:
        order = (Pad, Resize, Crop).index(type(step))
        if order <= last:
            joined.append(_identity(joined[-1].height.crop_px, joined[-1].width.crop_px))
        joined[-1], last = joined[-1].after(step), order
    return joined


def views_of(height_px: int, width_px: int, spec: ImageSpec) -> list[View]:
    """Returns the views that the model sees of an image of that size: one, or tiles row by row and then the whole.

    >>> from vlmprune_runtime.schema import ShortestEdge, image_steps
    >>> steps = (Resize(to=ShortestEdge(edge_px=4), kernel=Kernel.of("bicubic")), Crop(height_px=4, width_px=4))
    >>> spec = ImageSpec(steps=image_steps(steps))
    >>> views_of(8, 16, spec)[0].box
    (4.0, 0.0, 12.0, 8.0)
    """
    placed = placements(height_px, width_px, spec.geometric_steps)
    across = _LinearMap.through([place.width for place in placed])
    down = _LinearMap.through([place.height for place in placed])
    height, width = placed[-1].height.crop_px, placed[-1].width.crop_px

    def box(left: int, top: int, right: int, bottom: int) -> Box:
        return across.at(left), down.at(top), across.at(right), down.at(bottom)

    tiles = tile_boxes(height, width, spec.split)
    if not spec.split or not tiles:
        return [View("only", box(0, 0, width, height), height, width)]
    side = spec.split.tile_px
    parts = [View("tile", box(*tile), side, side, *divmod(nth, width // side)) for nth, tile in enumerate(tiles)]
    return [*parts, View("whole", box(0, 0, width, height), side, side)]


def only_view(height_px: int, width_px: int, spec: ImageSpec) -> View:
    """Returns the only view of an image of that size. Raises `BadRequest` if it has several."""
    views = views_of(height_px, width_px, spec)
    if len(views) > 1:
        raise BadRequest(f"the image is seen as {len(views)} views (tiles and the whole); allowed here: one")
    return views[0]


def bounding_box(boxes: Iterable[Box]) -> Box:
    """Returns the smallest box around all boxes.

    >>> bounding_box([(0, 0, 2, 2), (2, 0, 4, 3)])
    (0, 0, 4, 3)
    """
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def moved_box(box: Box, whole: Box, onto: Box) -> Box:
    """Returns where a box within `whole` lies if `whole` is stretched onto another box.

    >>> moved_box((1, 0, 2, 2), (0, 0, 2, 2), (10, 10, 14, 12))
    (12.0, 10.0, 14.0, 12.0)
    """
    across, down = (onto[2] - onto[0]) / (whole[2] - whole[0]), (onto[3] - onto[1]) / (whole[3] - whole[1])
    left, right = (onto[0] + across * (side - whole[0]) for side in (box[0], box[2]))
    top, bottom = (onto[1] + down * (side - whole[1]) for side in (box[1], box[3]))
    return left, top, right, bottom


def tile_boxes(height_px: int, width_px: int, split: Split | None) -> list[tuple[int, int, int, int]]:
    """Returns left, top, right and bottom of each tile, row by row; an image that stays whole has no tiles."""
    if split is None or max(height_px, width_px) <= split.tile_px:
        return []
    tile = split.tile_px
    corners = [(left, top) for top in range(0, height_px, tile) for left in range(0, width_px, tile)]
    return [(left, top, left + tile, top + tile) for left, top in corners]


class _LinearMap(NamedTuple):
    """Maps a position in a view to a position in the given image: offset + scale * position."""

    offset: float
    scale: float

    @classmethod
    def through(cls, axes: Sequence[Axis]) -> "_LinearMap":
        offset, scale = 0.0, 1.0
        for axis in axes:
            offset += scale * (axis.to_padded(axis.crop_start_px) - axis.pad_before_px)
            scale *= axis.scale
        return cls(offset, scale)

    def at(self, position: int) -> float:
        return self.offset + self.scale * position


def _identity(height_px: int, width_px: int) -> Placement:
    height, width = (Axis(size, 0, size, size, 0, size) for size in (height_px, width_px))
    return Placement(height, width)


def _padded(input_px: int, side_px: int) -> Axis:
    return Axis(input_px, (side_px - input_px) // 2, side_px, side_px, 0, side_px)


def _cropped(axis: Axis, crop_px: int) -> Axis:
    return replace(axis, crop_start_px=crop_start(axis.resized_px, crop_px), crop_px=crop_px)


def crop_start(resized_px: int, crop_px: int) -> int:
    """Returns the first pixel of a centre crop, negative for an image that is too small.

    Of an odd number of padded pixels the smaller half goes before, as in Hugging Face's default processors
    (their Pillow twins put the larger half there).

    >>> crop_start(7, 4), crop_start(4, 7)
    (1, -1)
    """
    return (resized_px - crop_px) // 2 if resized_px >= crop_px else -((crop_px - resized_px) // 2)
