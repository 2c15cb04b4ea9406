"""Reads the steps that resize, crop, pad and split images from an image processor's settings."""

from collections.abc import Iterator, Sequence
from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema import (
    Crop,
    Exact,
    Kernel,
    LongestEdge,
    NearestGrid,
    Pad,
    Resize,
    ShortestEdge,
    SmartMultiple,
    Split,
    WholeTiles,
)
from vlmprune_runtime.schema.image import GeometricStep
from vlmprune_runtime.schema.resize import Filter, Target

FILTERS: dict[int, Filter] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""The filters by their numbers in Pillow, as processors name them."""
_BILINEAR = 2  # what Hugging Face takes where a processor names no filter
_IDEFICS3_LIMIT_PX = 4096  # MAX_IMAGE_SIZE, a constant of its code and no setting


def single_view_steps(image_processor: Any, *, pad: bool) -> Iterator[GeometricStep]:
    """Yields padding to a square, resize and centre crop, as CLIP, SigLIP and LLaVA have them."""
    if pad:
        red, green, blue = (int(value * 255) for value in triple(image_processor.image_mean or 0.0, "image_mean"))
        yield Pad(colour=(red, green, blue))
    if image_processor.do_resize:
        yield Resize(to=_one_size(image_processor.size), kernel=_kernel(image_processor))
    if getattr(image_processor, "do_center_crop", False):
        height, width = _sides(image_processor.crop_size, "crop_size")
        yield Crop(height_px=height, width_px=width)


def grid_steps(image_processor: Any, grids: Sequence[tuple[int, int]] = ()) -> Iterator[GeometricStep]:
    """Yields Qwen2-VL's smart resize; with `grids`, in merged visual tokens (high, wide), onto the nearest of them."""
    multiple, size = image_processor.patch_size * image_processor.merge_size, given(image_processor.size)
    to: Target = (
        NearestGrid(multiple_px=multiple, grids=tuple(grids))
        if grids
        else SmartMultiple(multiple_px=multiple, min_area_px=size["shortest_edge"], max_area_px=size["longest_edge"])
    )
    yield Resize(to=to, kernel=_kernel(image_processor))


def tile_steps(image_processor: Any, most_tiles: int | None = None) -> Iterator[GeometricStep | Split]:
    """Tiles and then the whole image, as Idefics3 and SmolVLM have them; the whole alone where they do not split.

    `most_tiles` sets how many tiles the longer side becomes, in place of the processor's size.
    """
    kernel, tile = _kernel(image_processor), image_processor.max_image_size["longest_edge"]
    if image_processor.do_resize:
        edge = tile * most_tiles if most_tiles else given(image_processor.size)["longest_edge"]
        yield Resize(to=LongestEdge(edge_px=edge, limit_px=_IDEFICS3_LIMIT_PX), kernel=kernel)
    if not image_processor.do_image_splitting:
        yield Resize(to=Exact(height_px=tile, width_px=tile), kernel=kernel)
        return
    yield Resize(to=WholeTiles(tile_px=tile), kernel=kernel)
    yield Split(tile_px=tile, kernel=kernel)


def triple(value: Any, name: str) -> tuple[float, float, float]:
    """Returns a value for each channel; one number stands for all three."""
    values = [value] * 3 if isinstance(value, int | float) else list(value or ())
    if len(values) != 3:
        raise BadRequest(f"{name} of the image processor: got {value}; allowed: one number or three")
    return values[0], values[1], values[2]


def given(size: Any) -> dict[str, int]:
    """Returns the entries of a size that are set."""
    return {name: value for name, value in dict(size or {}).items() if value is not None}


def _one_size(size: Any) -> Target:
    if given(size).keys() == {"shortest_edge"}:
        return ShortestEdge(edge_px=size["shortest_edge"])
    height, width = _sides(size, "size")
    return Exact(height_px=height, width_px=width)


def _sides(size: Any, name: str) -> tuple[int, int]:
    sides = given(size)
    if sides.keys() != {"height", "width"}:
        shapes = "height and width, or shortest_edge" if name == "size" else "height and width"
        raise BadRequest(f"{name} of the image processor: got {sides or None}; allowed: {shapes}")
    return sides["height"], sides["width"]


def _kernel(image_processor: Any) -> Kernel:
    resample = image_processor.resample
    number = _BILINEAR if resample is None else int(resample)
    if number not in FILTERS:
        allowed = ", ".join(f"{known} ({name})" for known, name in sorted(FILTERS.items()))
        raise BadRequest(f"resample of the image processor: got {number}; allowed: {allowed}")
    return Kernel.of(FILTERS[number])
