"""What an image processor does to a picture, said as steps that a runner follows."""

from collections.abc import Iterator
from typing import Any

from vlmprune_export.adapters import Adapter
from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.schema import Crop, Exact, ImageSpec, Kernel, Pad, Resize, ShortestEdge, Size, image_steps
from vlmprune_runtime.schema.image import Move
from vlmprune_runtime.schema.resize import Filter, Target

_FILTERS: dict[int, Filter] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_BILINEAR = 2  # what Hugging Face takes where a processor names no filter
_SHAPES = ("square", "pad")  # as LLaVA's first configs name what happens to a picture that is no square

Triple = tuple[float, float, float]


def image_spec(image_processor: Any, adapter: Adapter) -> ImageSpec:
    """Padding, resize, crop, scale and normalisation of an image processor; `BadRequest` for what is not covered."""
    height, width = adapter.grid
    mean, std = _normalisation(image_processor)
    steps = image_steps(
        _moves(image_processor, adapter),
        factor=image_processor.rescale_factor if image_processor.do_rescale else 1.0,
        mean=mean,
        std=std,
    )
    spec = ImageSpec(steps=steps, grid_height=height, grid_width=width)
    _check_size(spec, adapter)
    return spec


def _moves(image_processor: Any, adapter: Adapter) -> Iterator[Move]:
    if _pads_to_square(image_processor, adapter):
        red, green, blue = (int(value * 255) for value in _triple(image_processor.image_mean, "image_mean"))
        yield Pad(colour=(red, green, blue))
    if image_processor.do_resize:
        yield Resize(to=_target(image_processor.size), kernel=Kernel.of(_filter(image_processor.resample)))
    if getattr(image_processor, "do_center_crop", False):
        height, width = _sides(image_processor.crop_size, "crop_size")
        yield Crop(height_px=height, width_px=width)


def _pads_to_square(image_processor: Any, adapter: Adapter) -> bool:
    """Whether pictures become squares on the mean colour, as LLaVA's own processor or its first configs say.

    Other processors pad a batch to its largest picture, which changes nothing for a single one.
    """
    shape = getattr(adapter.model.config, "image_aspect_ratio", None) or "square"
    if shape not in _SHAPES:
        raise UnknownName("image_aspect_ratio of the config", str(shape), _SHAPES)
    pads = bool(getattr(image_processor, "do_pad", False))
    if pads and getattr(image_processor, "pad_size", None):
        raise BadRequest(f"image processor pads to pad_size {_given(image_processor.pad_size)}; allowed: to a square")
    return shape == "pad" or (pads and hasattr(image_processor, "pad_to_square"))


def _target(size: Any) -> Target:
    if _given(size).keys() == {"shortest_edge"}:
        return ShortestEdge(edge_px=size["shortest_edge"])
    height, width = _sides(size, "size")
    return Exact(height_px=height, width_px=width)


def _sides(size: Any, name: str) -> tuple[int, int]:
    given = _given(size)
    if given.keys() != {"height", "width"}:
        shapes = "height and width, or (size) shortest_edge"
        raise BadRequest(f"{name} of the image processor: got {given or None}; allowed: {shapes}")
    return given["height"], given["width"]


def _given(size: Any) -> dict[str, int]:
    """The entries of a size that are set."""
    return {name: value for name, value in dict(size or {}).items() if value is not None}


def _filter(resample: Any) -> Filter:
    number = _BILINEAR if resample is None else int(resample)
    if number not in _FILTERS:
        raise BadRequest(f"resample of the image processor: got {number}; allowed: {_listed(_FILTERS)}")
    return _FILTERS[number]


def _listed(filters: dict[int, Filter]) -> str:
    return ", ".join(f"{number} ({name})" for number, name in sorted(filters.items()))


def _normalisation(image_processor: Any) -> tuple[Triple, Triple]:
    if not image_processor.do_normalize:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return _triple(image_processor.image_mean, "image_mean"), _triple(image_processor.image_std, "image_std")


def _triple(value: Any, name: str) -> Triple:
    """A value for each channel; one number stands for all three."""
    values = [value] * 3 if isinstance(value, int | float) else list(value or ())
    if len(values) != 3:
        raise BadRequest(f"{name} of the image processor: got {value}; allowed: one number or three")
    return values[0], values[1], values[2]


def _check_size(spec: ImageSpec, adapter: Adapter) -> None:
    height_px, width_px = adapter.image_size_px
    takes = f"the vision tower takes {height_px} x {width_px} px"
    seen = spec.seen
    if seen is None:
        raise BadRequest(
            f"the image processor keeps each picture's own shape, but {takes}; "
            'set do_center_crop with a crop_size, or size {"height": ..., "width": ...}, in preprocessor_config.json'
        )
    if seen != Size(height_px=height_px, width_px=width_px):
        raise BadRequest(f"the image processor gives {seen.height_px} x {seen.width_px} px but {takes}")
