"""Height and width after a resize, for each mode; rounded as Hugging Face's image processors round."""

from collections.abc import Callable, Mapping
from math import ceil, floor, sqrt
from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema.resize import (
    Exact,
    LongestEdge,
    NearestGrid,
    ShortestEdge,
    SmartMultiple,
    Target,
    WholeTiles,
)

MOST_TIMES_LONGER, MOST_PADDED_PX = 200, 100_000


def resized_size(height_px: int, width_px: int, to: Target) -> tuple[int, int]:  # -> height, width
    """The size that a resize gives to a picture of that size; `BadRequest` for shapes that a mode refuses.

    >>> resized_size(8, 16, ShortestEdge(edge_px=4))
    (4, 8)
    """
    return _MODES[to.mode](height_px, width_px, to)


def padded_side(height_px: int, width_px: int) -> int:
    """Side of the square that a picture is padded to; `BadRequest` where padding would take for ever."""
    side = max(height_px, width_px)
    if side > MOST_PADDED_PX:
        raise BadRequest(
            f"image is {width_px} x {height_px} pixels; allowed before padding: sides up to {MOST_PADDED_PX}"
        )
    return side


def _exact(height: int, width: int, to: Exact) -> tuple[int, int]:
    return to.height_px, to.width_px


def _shortest_edge(height: int, width: int, to: ShortestEdge) -> tuple[int, int]:
    short, long = sorted((width, height))
    longer = int(to.edge_px * long / short)
    return (longer, to.edge_px) if width <= height else (to.edge_px, longer)


def _longest_edge(height: int, width: int, to: LongestEdge) -> tuple[int, int]:
    height, width = _evenly_scaled(height, width, to.edge_px)
    ratio = width / height
    if width >= height and width > to.limit_px:
        height, width = int(to.limit_px / ratio), to.limit_px
    elif height > width and height > to.limit_px:
        height, width = to.limit_px, int(to.limit_px * ratio)
    return max(height, 1), max(width, 1)


def _evenly_scaled(height: int, width: int, edge: int) -> tuple[int, int]:
    """The longer side is `edge`, the shorter one even."""
    ratio = width / height
    if width >= height:
        short = int(edge / ratio)
        return max(short + short % 2, 1), edge
    short = int(edge * ratio)
    return edge, max(short + short % 2, 1)


def _smart_multiple(height: int, width: int, to: SmartMultiple) -> tuple[int, int]:
    if max(height, width) > MOST_TIMES_LONGER * min(height, width):
        shape = f"{width} x {height} pixels"
        raise BadRequest(f"image is {shape}; allowed: one side at most {MOST_TIMES_LONGER} times the other")
    multiple = to.multiple_px
    high, wide = round(height / multiple) * multiple, round(width / multiple) * multiple
    if high * wide > to.max_area_px:
        shrink = sqrt((height * width) / to.max_area_px)
        high, wide = (max(multiple, floor(side / shrink / multiple) * multiple) for side in (height, width))
    elif high * wide < to.min_area_px:
        grow = sqrt(to.min_area_px / (height * width))
        high, wide = (ceil(side * grow / multiple) * multiple for side in (height, width))
    return high, wide


def _nearest_grid(height: int, width: int, to: NearestGrid) -> tuple[int, int]:
    def distance(grid: tuple[int, int]) -> float:
        crossed = width * grid[0], height * grid[1]
        return max(crossed) / min(crossed)

    high, wide = min(to.grids, key=distance)
    return high * to.multiple_px, wide * to.multiple_px


def _whole_tiles(height: int, width: int, to: WholeTiles) -> tuple[int, int]:
    ratio = width / height
    if width >= height:
        width = _whole(width, to.tile_px)
        return _whole(int(width / ratio), to.tile_px), width
    height = _whole(height, to.tile_px)
    return height, _whole(int(height * ratio), to.tile_px)


def _whole(side: int, tile: int) -> int:
    return ceil(side / tile) * tile


_MODES: Mapping[str, Callable[[int, int, Any], tuple[int, int]]] = {
    "exact": _exact,
    "shortest_edge": _shortest_edge,
    "longest_edge": _longest_edge,
    "smart_multiple": _smart_multiple,
    "nearest_grid": _nearest_grid,
    "whole_tiles": _whole_tiles,
}
