"""What a Hugging Face processor does, said as data that a runner without transformers can follow."""

from typing import Any

from vlmprune_export.adapters import Adapter
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prompt import PLACE
from vlmprune_runtime.schema import ImageSpec, PromptSpec, Resize, Size

_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_MARK = "vlmprune-prompt-goes-here"
_VICUNA = "USER: {image}\n" + PLACE + " ASSISTANT:"  # checkpoints older than chat templates


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


def prompt_spec(processor: Any, model: Any) -> PromptSpec:
    """The chat template rendered for one question about one image, and the tokens that end an answer."""
    tokenizer, image_token = processor.tokenizer, processor.image_token
    template = (
        _rendered(processor)
        if getattr(processor, "chat_template", None)
        else _VICUNA.format(image=image_token, prompt=PLACE)
    )
    begins = tokenizer.bos_token is not None and template.startswith(tokenizer.bos_token)
    return PromptSpec(
        template=template,
        image_token=image_token,
        image_token_id=model.config.image_token_id,
        add_special_tokens=not begins,
        stop_token_ids=_stop_tokens(model),
    )


def _rendered(processor: Any) -> str:
    content = [{"type": "image"}, {"type": "text", "text": _MARK}]
    text: str = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    if text.count(_MARK) != 1 or processor.image_token not in text:
        raise BadRequest("the chat template does not render one image and one question")
    return text.replace(_MARK, PLACE)


def _stop_tokens(model: Any) -> tuple[int, ...]:
    for config in (model.generation_config, model.config, model.config.text_config):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return tuple(found) if isinstance(found, list | tuple) else (found,)
    raise BadRequest("the checkpoint names no end-of-sequence token (eos_token_id)")


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
