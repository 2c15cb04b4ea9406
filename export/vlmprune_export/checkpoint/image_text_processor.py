"""Loads a checkpoint's processor; one that takes videos too is loaded without that part, which needs torchvision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ImageTextProcessor:
    """The parts of a processor that images and text need, under the names that Hugging Face's processors have."""

    image_processor: Any
    tokenizer: Any
    image_token: str | None
    chat_template: str | dict[str, str] | None

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> Any:
        """Returns what the tokenizer makes of the messages, which is what the whole processor makes of them."""
        return self.tokenizer.apply_chat_template(messages, **options)


def load_processor(folder: Path, config: Any) -> Any:
    """Returns the processor of a checkpoint of that config, with image processor, tokenizer and image token."""
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    kind: Any = PROCESSOR_MAPPING[type(config)]
    if "video_processor" not in kind.get_attributes():
        return AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    settings, _ = kind.get_processor_dict(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return ImageTextProcessor(
        image_processor=AutoImageProcessor.from_pretrained(folder, trust_remote_code=False),
        tokenizer=tokenizer,
        image_token=tokenizer.convert_ids_to_tokens(config.image_token_id),
        chat_template=settings.get("chat_template") or tokenizer.chat_template,
    )
