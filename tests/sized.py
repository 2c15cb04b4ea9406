"""Random checkpoints of real sizes, to measure the time and memory of an export: `python tests/sized.py 40m DIR`."""

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Config,
)

from tiny import IMAGE_TOKEN_ID, TEMPLATE, tiny_tokenizer

# Hidden size, inner size, layers, query heads, key heads, vocabulary; then hidden size and layers of the tower.
SIZES = {
    "40m": ((384, 1024, 12, 6, 2, 32000), (384, 6)),
    "140m": ((576, 1536, 26, 9, 3, 49152), (384, 12)),
    "500m": ((896, 4864, 24, 14, 2, 151936), (384, 12)),  # the language model is as wide and deep as Qwen2-0.5B
}
_IMAGE_PX, _PATCH_PX = 336, 14


def sized_config(size: str) -> LlavaConfig:
    """Returns the configuration of a LLaVA with 576 visual tokens and tied embeddings."""
    (hidden, inner, layers, heads, kv_heads, vocabulary), (tower, tower_layers) = SIZES[size]
    text: Any = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    vision = CLIPVisionConfig(
        hidden_size=tower,
        intermediate_size=4 * tower,
        num_hidden_layers=tower_layers,
        num_attention_heads=tower // 64,
        image_size=_IMAGE_PX,
        patch_size=_PATCH_PX,
    )
    return LlavaConfig(
        text_config=text, vision_config=vision, image_token_index=IMAGE_TOKEN_ID, vision_feature_layer=-2,
        vision_feature_select_strategy="default", tie_word_embeddings=True,
    )  # fmt: skip


def write_sized(size: str, folder: Path) -> None:
    """Writes the checkpoint in bf16, as most checkpoints are."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    LlavaForConditionalGeneration(sized_config(size)).save_pretrained(folder)
    crop = {"height": _IMAGE_PX, "width": _IMAGE_PX}
    LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": _IMAGE_PX}, crop_size=crop, do_center_crop=True),
        tokenizer=tiny_tokenizer(), patch_size=_PATCH_PX, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip


if __name__ == "__main__":
    write_sized(sys.argv[1], Path(sys.argv[2]))
