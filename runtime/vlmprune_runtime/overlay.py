"""Draws what the pruner kept: kept patches are bright and numbered by rank, the rest is dimmed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from os import PathLike
from typing import Literal

from PIL import Image, ImageDraw, ImageEnhance

from vlmprune_runtime.atomic import OutputFile, save_png
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import Pruned
from vlmprune_runtime.geometry import Box, bounding_box, moved_box, views_of
from vlmprune_runtime.legend import BACKGROUND, colour_of, font, with_legend
from vlmprune_runtime.schema import Bundle

VIEW_PX, MAX_PX = 1008, 2400
MARGIN_FRACTION = 0.35
DROPPED_BRIGHTNESS, UNSEEN_BRIGHTNESS, SATURATION = 0.42, 0.14, 0.35
SMALLEST_NUMBER_PX = 18
TILE_EDGE = (128, 128, 128)
NAMES = {"only": "", "tile": "in tiles: ", "whole": "whole: "}


@dataclass(frozen=True)
class GridArea:
    """Says where a grid of `height` x `width` visual tokens lies in an image, and what its view shows."""

    box: Box
    height: int
    width: int
    role: Literal["only", "tile", "whole"] = "only"

    @property
    def visual_tokens(self) -> int:
        """The number of places in the grid."""
        return self.height * self.width


def grid_areas(image: Image.Image, bundle: Bundle) -> list[GridArea]:
    """Returns where the visual tokens of each view of an image lie. Raises `BadRequest` for a view of no grid."""
    areas = []
    for view in views_of(image.height, image.width, bundle.image):
        grid = bundle.grids[bundle.grid_index(view.height_px, view.width_px)]
        areas.append(GridArea(view.box, grid.height, grid.width, view.role))
    return areas


def draw_overlay(
    image: Image.Image,
    pruned: Sequence[Pruned],
    areas: Sequence[GridArea],
    out: str | PathLike[str] | OutputFile,
) -> None:
    """Writes the overlay as a PNG file, whole or not at all; `image` is an image as `load_image` returns it."""
    save_png(overlay(image, pruned, areas), out)


def overlay(image: Image.Image, pruned: Sequence[Pruned], areas: Sequence[GridArea]) -> Image.Image:
    """Returns the image around what the model sees, at a readable size, with a legend below.

    `pruned` says what was kept of views, `areas` where each view of the image lies. Tiles are shown at their places in
    the image; the whole image, which the model sees beside them, is shown once more.
    """
    seen = [(areas[kept.view], kept) for kept in pruned]
    parts = [[pair for pair in seen if (pair[0].role == "tile") is tiles] for tiles in (True, False)]
    return _joined([_drawn(image, part) for part in parts if part])


def _drawn(image: Image.Image, seen: Sequence[tuple[GridArea, Pruned]]) -> Image.Image:
    """Returns the views that lie side by side in the image, with one legend."""
    check_selections(seen)
    whole = bounding_box(area.box for area, _ in seen)
    canvas, place = crop_around(image, whole)
    patches = list[list[tuple[int, int, int, int]]]()
    ranks = 1 + max((rank for _, pruned in seen for rank in pruned.rank), default=-1)
    for area, pruned in seen:
        shown = replace(area, box=moved_box(area.box, whole, place))
        patches.append([patch_box(kept, shown) for kept in pruned.kept])
    lit = dim_dropped(canvas, place, [patch for boxes in patches for patch in boxes])
    for (area, pruned), boxes in zip(seen, patches, strict=True):
        draw_ranks(lit, boxes, pruned.rank, ranks)
        if area.role == "tile":
            ImageDraw.Draw(lit).rectangle(moved_box(area.box, whole, place), outline=TILE_EDGE)
    kept, tokens = sum(len(pruned.kept) for _, pruned in seen), sum(area.visual_tokens for area, _ in seen)
    return with_legend(lit, kept, tokens, NAMES[seen[0][0].role])


def _joined(parts: Sequence[Image.Image]) -> Image.Image:
    """Joins the parts side by side if they are high, or one below the other if they are wide."""
    down = parts[0].width > parts[0].height
    widths, heights = [part.width for part in parts], [part.height for part in parts]
    sheet = Image.new("RGB", (max(widths), sum(heights)) if down else (sum(widths), max(heights)), BACKGROUND)
    for nth, part in enumerate(parts):
        sheet.paste(part, (0, sum(heights[:nth])) if down else (sum(widths[:nth]), 0))
    return sheet


def check_selections(seen: Sequence[tuple[GridArea, Pruned]]) -> None:
    """Raises `BadRequest` for a selection that does not fit its grid, or for ranks of neither one view nor all."""
    for area, pruned in seen:
        places = area.visual_tokens
        if len(set(pruned.kept)) < len(pruned.kept) or not all(0 <= place < places for place in pruned.kept):
            raise BadRequest(f"kept: allowed are different places from 0 to {places - 1}")
    if not any(pruned.kept for _, pruned in seen):
        raise BadRequest("kept: allowed are one place or more")
    if _are_ranks([rank for _, pruned in seen for rank in pruned.rank], sum(len(pruned.kept) for _, pruned in seen)):
        return  # of tiles that were pruned together, or of a single view
    for _, pruned in seen:
        if not _are_ranks(pruned.rank, kept := len(pruned.kept)):
            raise BadRequest(f"rank: {kept} kept tokens need each of 0 to {kept - 1} once")


def _are_ranks(rank: Sequence[int], count: int) -> bool:
    return sorted(rank) == list(range(count))


def crop_around(image: Image.Image, box: Box) -> tuple[Image.Image, Box]:
    """Returns the image around `box` at a readable size, and where the box lies in it.

    Padding is black. The far parts of very long images are left out.
    """
    left, top, right, bottom = box
    margin = MARGIN_FRACTION * max(right - left, bottom - top)
    x, y = floor(min(left, max(0, left - margin))), floor(min(top, max(0, top - margin)))
    x_end = ceil(max(right, min(image.width, right + margin)))
    y_end = ceil(max(bottom, min(image.height, bottom + margin)))
    width, height = x_end - x, y_end - y
    scale = min(VIEW_PX / min(right - left, bottom - top), MAX_PX / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = image.crop((x, y, x_end, y_end)).resize(size, Image.Resampling.BICUBIC)
    across, down = size[0] / width, size[1] / height
    return canvas, ((left - x) * across, (top - y) * down, (right - x) * across, (bottom - y) * down)


def patch_box(place: int, area: GridArea) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom of the patch of one visual token, in whole pixels.

    >>> patch_box(5, GridArea((10.0, 0.0, 50.0, 40.0), height=4, width=4))
    (20, 10, 30, 20)
    """
    row, column = divmod(place, area.width)
    left, top, right, bottom = area.box
    width, height = (right - left) / area.width, (bottom - top) / area.height
    left, top = left + column * width, top + row * height
    return round(left), round(top), round(left + width), round(top + height)


def dim_dropped(canvas: Image.Image, view: Box, patches: list[tuple[int, int, int, int]]) -> Image.Image:
    """Returns the canvas with dropped patches dim, and what the model does not see nearly dark."""
    faded = ImageEnhance.Color(canvas).enhance(SATURATION)
    lit = ImageEnhance.Brightness(faded).enhance(UNSEEN_BRIGHTNESS)
    left, top, right, bottom = (round(edge) for edge in view)
    dropped = ImageEnhance.Brightness(faded.crop((left, top, right, bottom))).enhance(DROPPED_BRIGHTNESS)
    lit.paste(dropped, (left, top))
    for box in patches:
        lit.paste(canvas.crop(box), box[:2])
    return lit


def draw_ranks(lit: Image.Image, patches: list[tuple[int, int, int, int]], rank: Sequence[int], ranks: int) -> None:
    """Draws around each kept patch a frame in the colour of its rank of so many, and the rank where it is readable."""
    draw = ImageDraw.Draw(lit)
    for (left, top, right, bottom), place in zip(patches, rank, strict=True):
        colour = colour_of(place, ranks)
        size = min(right - left, bottom - top)
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=max(1, size // 14))
        if size >= SMALLEST_NUMBER_PX:
            draw_number(draw, (left, top), place + 1, size)


def draw_number(draw: ImageDraw.ImageDraw, corner: tuple[int, int], number: int, size_px: int) -> None:
    """Writes a number into the upper left of a patch, on a dark plate so that it is readable on any image."""
    text, face = str(number), font(max(9, round(size_px * 0.34)))
    edge = max(1, size_px // 14)
    at = (corner[0] + edge, corner[1] + edge)
    _, top, right, bottom = draw.textbbox(at, text, font=face)
    plate = (at[0], at[1], right + 2, bottom + 2 - (top - at[1]) // 2)
    draw.rectangle(plate, fill=(0, 0, 0))
    draw.text((at[0] + 1, at[1] - (top - at[1]) // 2), text, fill=(255, 255, 255), font=face)
