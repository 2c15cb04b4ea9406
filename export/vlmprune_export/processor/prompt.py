"""What a processor's chat template makes of a question, said as data that a runner follows."""

from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prompt import PLACE
from vlmprune_runtime.schema import PromptSpec

_MARK = "vlmprune-prompt-goes-here"
_VICUNA = "USER: {image}\n" + PLACE + " ASSISTANT:"  # checkpoints older than chat templates


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
