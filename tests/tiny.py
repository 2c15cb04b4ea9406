"""Tiny random checkpoints: every text model and tower of a family, a few thousand weights each."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    Dinov2Config,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

IMAGE_TOKEN_ID = 3
_TEXT = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 8,
}
TEXTS: dict[str, Any] = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config}
TOWERS: dict[str, Any] = {"clip": CLIPVisionConfig, "siglip": SiglipVisionConfig, "dinov2": Dinov2Config}


def tiny_llava(text: str = "llama", tower: str = "clip", *, tied: bool = False) -> LlavaForConditionalGeneration:
    """A random LLaVA with a 7 x 7 grid: 49 visual tokens, 4 decoder layers, 2 of 6 heads hold keys."""
    torch.manual_seed(0)
    strategy = "full" if tower == "siglip" else "default"
    sliding = {"sliding_window": None} if text == "mistral" else {}
    config = LlavaConfig(
        text_config=TEXTS[text](**_TEXT, **sliding, tie_word_embeddings=tied),
        vision_config=TOWERS[tower](**_VISION),
        image_token_index=IMAGE_TOKEN_ID,
        vision_feature_layer=[1, -2] if tower == "dinov2" else -2,
        vision_feature_select_strategy=strategy,
        tie_word_embeddings=tied,
    )
    return LlavaForConditionalGeneration(config).eval()


WORDS = [
    "what",
    "is",
    "in",
    "the",
    "picture",
    "?",
    "a",
    "an",
    "dog",
    "cat",
    "bus",
    "left",
    "right",
    "of",
    "yes",
    "no",
    "one",
    "two",
    "USER",
    ":",
    "ASSISTANT",
]
TEMPLATE = (
    "<s>USER: {% for part in messages[0]['content'] %}{% if part['type'] == 'image' %}<image>{% else %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def write_checkpoint(folder: Path, text: str = "llama", tower: str = "clip", *, tied: bool = False) -> Path:
    """A tiny checkpoint on disk, with tokenizer, image processor and chat template."""
    tiny_llava(text, tower, tied=tied).save_pretrained(folder)
    tiny_processor(tower).save_pretrained(folder)
    return folder


def tiny_processor(tower: str) -> LlavaProcessor:
    """A processor of 56 px images and a closed vocabulary."""
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, do_center_crop=True
        ),
        tokenizer=tiny_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="full" if tower == "siglip" else "default",
        num_additional_image_tokens=0 if tower == "siglip" else 1,
        chat_template=TEMPLATE,
    )


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words; 96 ids, of which four are special."""
    special = ["<unk>", "<s>", "</s>", "<image>"]
    filler = [f"word{index}" for index in range(96 - len(special) - len(WORDS))]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS, *filler])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
