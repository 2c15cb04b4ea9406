"""Where what the model sees lies in the picture that was given."""

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
    """Pixels first .. stop - 1 of one axis."""

    first: int
    stop: int

    @property
    def px(self) -> int:
        """How many."""
        return self.stop - self.first


@dataclass(frozen=True)
class Axis:
    """`given_px` are padded to `padded_px`, these resized to `resized_px`, of which `seen_px` from `start_px` are seen.

    The padding before is `before_px`. `start_px` is negative where the resized picture is padded before.
    """

    given_px: int
    before_px: int
    padded_px: int
    resized_px: int
    start_px: int
    seen_px: int

    @property
    def shown(self) -> Span:
        """The resized pixels that are seen."""
        return Span(max(self.start_px, 0), min(self.start_px + self.seen_px, self.resized_px))

    @property
    def scale(self) -> float:
        """Padded pixels in a resized one."""
        return self.padded_px / self.resized_px

    def live(self, support_px: float) -> Span:
        """Those of the shown pixels that may depend on given ones, and not on padding alone."""
        reach, shown = self._reach(support_px), self.shown
        first = floor((self.before_px - reach) / self.scale)
        stop = ceil((self.before_px + self.given_px + reach) / self.scale)
        return Span(max(first, shown.first), min(stop, shown.stop))

    def source(self, resized: Span, support_px: float) -> Span:
        """The padded pixels that some of the resized ones depend on."""
        reach = self._reach(support_px)
        first, stop = floor(self.to_padded(resized.first)) - reach, ceil(self.to_padded(resized.stop)) + reach
        return Span(max(first, 0), min(stop, self.padded_px))

    def to_padded(self, resized_px: int) -> float:
        """A place in the resized picture as a place in the padded one."""
        return resized_px * self.padded_px / self.resized_px

    def _reach(self, support_px: float) -> int:
        return ceil(support_px * max(1.0, self.scale)) + 1


@dataclass(frozen=True)
class Placement:
    """Both axes of a padding, a resize and a crop that follow each other; any of them may change nothing."""

    height: Axis
    width: Axis
    kernel: Kernel | None = None
    padding: Rgb = BLACK
    around: Rgb = BLACK

    def after(self, step: GeometricStep) -> "Placement":
        """The placement with one more step in it."""
        height, width = self.height.seen_px, self.width.seen_px
        if isinstance(step, Pad):
            side = padded_side(height, width)
            return replace(self, height=_padded(height, side), width=_padded(width, side), padding=step.colour)
        if isinstance(step, Resize):
            sizes = zip((self.height, self.width), resized_size(height, width, step.to), strict=True)
            high, wide = (replace(axis, resized_px=size, seen_px=size) for axis, size in sizes)
            return replace(self, height=high, width=wide, kernel=step.kernel)
        high, wide = _cropped(self.height, step.height_px), _cropped(self.width, step.width_px)
        return replace(self, height=high, width=wide, around=step.colour)


@dataclass(frozen=True)
class View:
    """One view of an image: `box` is its left, top, right and bottom edge in the given image, padding included.

    `height_px` and `width_px` are its size after preprocessing. Rows and columns of tiles are counted from 0.
    """

    role: Literal["only", "tile", "whole"]
    box: Box
    height_px: int
    width_px: int
    row: int | None = None
    column: int | None = None


def placements(height_px: int, width_px: int, moves: Iterable[GeometricStep]) -> list[Placement]:
    """The steps, each padding, resize and crop that follow each other taken together."""
    made, last = [_unmoved(height_px, width_px)], -1
    for step in moves:
        rank = (Pad, Resize, Crop).index(type(step))
        if rank <= last:
            made.append(_unmoved(made[-1].height.seen_px, made[-1].width.seen_px))
        made[-1], last = made[-1].after(step), rank
    return made


def views_of(height_px: int, width_px: int, spec: ImageSpec) -> list[View]:
    """What the model sees of a picture of that size: one view, or tiles row by row and then the whole.

    >>> from vlmprune_runtime.schema import ShortestEdge, image_steps
    >>> moves = (Resize(to=ShortestEdge(edge_px=4), kernel=Kernel.of("bicubic")), Crop(height_px=4, width_px=4))
    >>> spec = ImageSpec(steps=image_steps(moves))
    >>> views_of(8, 16, spec)[0].box
    (4.0, 0.0, 12.0, 8.0)
    """
    placed = placements(height_px, width_px, spec.geometric_steps)
    across, down = _Line.through([place.width for place in placed]), _Line.through([place.height for place in placed])
    height, width = placed[-1].height.seen_px, placed[-1].width.seen_px

    def box(left: int, top: int, right: int, bottom: int) -> Box:
        return across.at(left), down.at(top), across.at(right), down.at(bottom)

    tiles = tile_boxes(height, width, spec.split)
    if not spec.split or not tiles:
        return [View("only", box(0, 0, width, height), height, width)]
    side = spec.split.tile_px
    parts = [View("tile", box(*tile), side, side, *divmod(nth, width // side)) for nth, tile in enumerate(tiles)]
    return [*parts, View("whole", box(0, 0, width, height), side, side)]


def only_view(height_px: int, width_px: int, spec: ImageSpec) -> View:
    """The view of a picture of which there is but one; `BadRequest` for several."""
    found = views_of(height_px, width_px, spec)
    if len(found) > 1:
        raise BadRequest(f"the picture is seen as {len(found)} views (tiles and the whole); allowed here: one")
    return found[0]


def bounding_box(boxes: Iterable[Box]) -> Box:
    """The smallest box around all boxes.

    >>> bounding_box([(0, 0, 2, 2), (2, 0, 4, 3)])
    (0, 0, 4, 3)
    """
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def moved_box(box: Box, whole: Box, onto: Box) -> Box:
    """Where a box within `whole` lies when `whole` is stretched onto another box.

    >>> moved_box((1, 0, 2, 2), (0, 0, 2, 2), (10, 10, 14, 12))
    (12.0, 10.0, 14.0, 12.0)
    """
    across, down = (onto[2] - onto[0]) / (whole[2] - whole[0]), (onto[3] - onto[1]) / (whole[3] - whole[1])
    left, right = (onto[0] + across * (side - whole[0]) for side in (box[0], box[2]))
    top, bottom = (onto[1] + down * (side - whole[1]) for side in (box[1], box[3]))
    return left, top, right, bottom


def tile_boxes(height_px: int, width_px: int, split: Split | None) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of each tile, row by row; none for a picture that stays whole."""
    if split is None or max(height_px, width_px) <= split.tile_px:
        return []
    tile = split.tile_px
    corners = [(left, top) for top in range(0, height_px, tile) for left in range(0, width_px, tile)]
    return [(left, top, left + tile, top + tile) for left, top in corners]


class _Line(NamedTuple):
    """A place in a view as a place in the given picture: offset + scale * place."""

    offset: float
    scale: float

    @classmethod
    def through(cls, axes: Sequence[Axis]) -> "_Line":
        offset, scale = 0.0, 1.0
        for axis in axes:
            offset += scale * (axis.to_padded(axis.start_px) - axis.before_px)
            scale *= axis.scale
        return cls(offset, scale)

    def at(self, place: int) -> float:
        return self.offset + self.scale * place


def _unmoved(height_px: int, width_px: int) -> Placement:
    height, width = (Axis(size, 0, size, size, 0, size) for size in (height_px, width_px))
    return Placement(height, width)


def _padded(given_px: int, side_px: int) -> Axis:
    return Axis(given_px, (side_px - given_px) // 2, side_px, side_px, 0, side_px)


def _cropped(axis: Axis, crop_px: int) -> Axis:
    return replace(axis, start_px=crop_start(axis.resized_px, crop_px), seen_px=crop_px)


def crop_start(resized_px: int, crop_px: int) -> int:
    """First pixel of a centre crop, negative for a picture that is too small.

    Of an odd number of padded pixels the smaller half goes before, as in Hugging Face's default processors
    (their Pillow twins put the larger half there).

    >>> crop_start(7, 4), crop_start(4, 7)
    (1, -1)
    """
    return (resized_px - crop_px) // 2 if resized_px >= crop_px else -((crop_px - resized_px) // 2)
