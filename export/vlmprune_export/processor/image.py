"""What an image processor does to a picture, said as steps that a runner follows."""

from typing import Any

from vlmprune_export.adapters import Adapter
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema import ImageSpec, Resize, Size

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def image_spec(image_processor: Any, adapter: Adapter) -> ImageSpec:
    """Resize, crop, scale and normalisation of an image processor; `BadRequest` for what is not covered."""
    if getattr(image_processor, "do_pad", False):
        raise BadRequest("image processor pads (do_pad); allowed: resize and centre crop")
    height, width = adapter.grid
    normalise = image_processor.do_normalize
    spec = ImageSpec(
        resize=_resize(image_processor) if image_processor.do_resize else None,
        crop=_crop(image_processor),
        rescale=image_processor.rescale_factor if image_processor.do_rescale else 1.0,
        mean=tuple(image_processor.image_mean) if normalise else (0.0, 0.0, 0.0),
        std=tuple(image_processor.image_std) if normalise else (1.0, 1.0, 1.0),
        grid_height=height,
        grid_width=width,
    )
    _check_size(spec, adapter)
    return spec


def _resize(image_processor: Any) -> Resize:
    size, name = image_processor.size, _FILTERS.get(int(image_processor.resample))
    if name is None:
        raise BadRequest(f"resample: got {image_processor.resample}; allowed: {', '.join(_FILTERS.values())}")
    edge = size.get("shortest_edge")
    if edge:
        return Resize(mode="shortest_edge", height_px=edge, width_px=edge, filter=name)  # type: ignore[arg-type]
    return Resize(mode="exact", height_px=size["height"], width_px=size["width"], filter=name)  # type: ignore[arg-type]


def _crop(image_processor: Any) -> Size | None:
    if not getattr(image_processor, "do_center_crop", False):
        return None
    size = image_processor.crop_size
    return Size(height_px=size["height"], width_px=size["width"])


def _check_size(spec: ImageSpec, adapter: Adapter) -> None:
    height_px, width_px = adapter.image_size_px
    if spec.seen != Size(height_px=height_px, width_px=width_px):
        raise BadRequest(
            f"the image processor gives {spec.seen} but the vision tower takes {height_px} x {width_px} px"
        )
