"""Tiny random checkpoints: every text model and tower of a family, a few thousand weights each."""

from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    Dinov2Config,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
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
        image_token_id=IMAGE_TOKEN_ID,
        vision_feature_layer=[1, -2] if tower == "dinov2" else -2,
        vision_feature_select_strategy=strategy,
        tie_word_embeddings=tied,
    )
    return LlavaForConditionalGeneration(config).eval()
