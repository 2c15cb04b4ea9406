"""Describes an image processor as steps that a runner follows."""

from collections.abc import Iterable
from typing import Any

from vlmprune_export.families import Family
from vlmprune_export.processor.geometric_steps import given, grid_steps, single_view_steps, tile_steps, triple
from vlmprune_export.settings_errors import settings_of
from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.progress import Report
from vlmprune_runtime.schema import ImageSpec, NearestGrid, Resize, Size, image_steps
from vlmprune_runtime.schema.image import GeometricStep, Split, Step

_SHAPES = ("square", "pad")  # as LLaVA's first configs name what happens to an image that is no square


def image_spec(
    image_processor: Any, family: Family, notice: Report = lambda line: None, *, tiles: int | None = None
) -> ImageSpec:
    """Returns padding, resize, crop, tiles, scale and normalisation of an image processor.

    Calls `notice` if the config asks for padding that the image processor leaves out. `tiles` sets how many tiles
    an image's longer side becomes, in place of the processor's setting. Raises `BadRequest` for what is not covered.
    """
    with settings_of("the image processor's config"):
        moves = tuple(_steps(image_processor, family, notice, tiles))
        spec = ImageSpec(steps=steps_of(image_processor, moves))
    _check_size(spec, family)
    return spec


def _steps(image_processor: Any, family: Family, notice: Report, tiles: int | None) -> Iterable[GeometricStep | Split]:
    splits = bool(getattr(image_processor, "do_image_splitting", False))
    if tiles is not None and not (splits and image_processor.do_resize):
        raise BadRequest(f"tiles: got {tiles}; this checkpoint's image processor does not split images into tiles")
    if tiles is not None and tiles < 1:
        raise BadRequest(f"tiles: got {tiles}; allowed: 1 or more")
    if hasattr(image_processor, "do_image_splitting"):
        return tile_steps(image_processor, tiles)
    if hasattr(image_processor, "merge_size"):
        return grid_steps(image_processor, [(grid.height, grid.width) for grid in family.grids])
    return single_view_steps(image_processor, pad=_pads_to_square(image_processor, family, notice))


def steps_of(image_processor: Any, moves: tuple[GeometricStep | Split, ...]) -> tuple[Step, ...]:
    """Returns all steps of a processor: the given geometric steps, rescaling and normalisation."""
    factor = image_processor.rescale_factor if image_processor.do_rescale else 1.0
    if not image_processor.do_normalize:
        return image_steps(moves, factor=factor)
    mean, std = (triple(getattr(image_processor, name), name) for name in ("image_mean", "image_std"))
    return image_steps(moves, factor=factor, mean=mean, std=std)


def _pads_to_square(image_processor: Any, family: Family, notice: Report) -> bool:
    """Returns whether images are padded to squares on the mean colour, by LLaVA's own processor or its first configs.

    Other processors pad a batch to its largest image, which changes nothing for a single one.
    """
    shape = getattr(family.model.config, "image_aspect_ratio", None) or "square"
    if shape not in _SHAPES:
        raise UnknownName("image_aspect_ratio of the config", str(shape), _SHAPES)
    pads = bool(getattr(image_processor, "do_pad", False))
    if pads and getattr(image_processor, "pad_size", None):
        raise BadRequest(f"image processor pads to pad_size {given(image_processor.pad_size)}; allowed: to a square")
    pads_to_square = pads and hasattr(image_processor, "pad_to_square")
    if shape == "pad" and not pads_to_square:
        notice("note: images are padded to a square: image_aspect_ratio in config.json, not in the image processor")
    return shape == "pad" or pads_to_square


def _check_size(spec: ImageSpec, family: Family) -> None:
    if len(family.grids) > 1:
        _check_multiple(spec, family)
        return
    height_px, width_px = family.grids[0].height_px, family.grids[0].width_px
    takes = f"the vision tower takes {height_px} x {width_px} px"
    seen = spec.view_size
    if seen is None:
        raise BadRequest(
            f"the image processor keeps each image's own shape, but {takes}; "
            'set do_center_crop with a crop_size, or size {"height": ..., "width": ...}, in preprocessor_config.json'
        )
    if seen != Size(height_px=height_px, width_px=width_px):
        raise BadRequest(f"the image processor gives {seen.height_px} x {seen.width_px} px but {takes}")


def _check_multiple(spec: ImageSpec, family: Family) -> None:
    """With several grids images are resized to them; a visual token must have the tower's size in pixels."""
    sides = {(grid.height_px // grid.height, grid.width_px // grid.width) for grid in family.grids}
    targets = [step.to for step in spec.geometric_steps if isinstance(step, Resize)]
    given_px = {target.multiple_px for target in targets if isinstance(target, NearestGrid)}
    if sides != {(side_px, side_px) for side_px in given_px}:
        shown = " and ".join(str(side_px) for side_px in sorted(given_px)) or "no"
        raise BadRequest(f"a visual token of the image processor has {shown} px, the vision tower's {sides} px")
