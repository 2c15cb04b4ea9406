"""Computes height and width after a resize, for each mode, rounded as Hugging Face's image processors round."""

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

MAX_ASPECT_RATIO, MAX_PADDED_SIDE_PX = 200, 100_000


def resized_size(height_px: int, width_px: int, to: Target) -> tuple[int, int]:  # -> height, width
    """Returns the size of an image after a resize. Raises `BadRequest` for shapes that the mode refuses.

    >>> resized_size(8, 16, ShortestEdge(edge_px=4))
    (4, 8)
    """
    return _MODES[to.mode](height_px, width_px, to)


def padded_side(height_px: int, width_px: int) -> int:
    """Returns the side of the square that an image is padded to. Raises `BadRequest` for one too large."""
    side = max(height_px, width_px)
    if side > MAX_PADDED_SIDE_PX:
        raise BadRequest(
            f"image is {width_px} x {height_px} pixels; allowed before padding: sides up to {MAX_PADDED_SIDE_PX}"
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
    """Returns a size whose longer side is `edge` and whose shorter side is even."""
    ratio = width / height
    if width >= height:
        short = int(edge / ratio)
        return max(short + short % 2, 1), edge
    short = int(edge * ratio)
    return edge, max(short + short % 2, 1)


def _smart_multiple(height: int, width: int, to: SmartMultiple) -> tuple[int, int]:
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        shape = f"{width} x {height} pixels"
        raise BadRequest(f"image is {shape}; allowed: one side at most {MAX_ASPECT_RATIO} times the other")
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
        width = _round_up(width, to.tile_px)
        return _round_up(int(width / ratio), to.tile_px), width
    height = _round_up(height, to.tile_px)
    return height, _round_up(int(height * ratio), to.tile_px)


def _round_up(side: int, tile: int) -> int:
    return ceil(side / tile) * tile


_MODES: Mapping[str, Callable[[int, int, Any], tuple[int, int]]] = {
    "exact": _exact,
    "shortest_edge": _shortest_edge,
    "longest_edge": _longest_edge,
    "smart_multiple": _smart_multiple,
    "nearest_grid": _nearest_grid,
    "whole_tiles": _whole_tiles,
}
