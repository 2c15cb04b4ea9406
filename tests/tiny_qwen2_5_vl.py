"""Tiny random checkpoints of Qwen2.5-VL: a window smaller than the grids, and a tokenizer and template as theirs."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlmprune_export.checkpoint.image_text_processor import ImageTextProcessor

PATCH_PX, MERGE = 4, 2
SIDE_PX = PATCH_PX * MERGE
GRIDS = ((4, 4), (4, 6))
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
SPECIAL += ["<|video_pad|>"]
IMAGE_TOKEN_ID = SPECIAL.index("<|image_pad|>")
TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}"
    "<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: "
    "{% endif %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CORPUS = ["system\nYou are a helpful assistant.\nuser\nwhat is in the picture? assistant\na dog left of the bus."] * 4


def tiny_qwen2_5_vl(*, tied: bool = False) -> Qwen2_5_VLForConditionalGeneration:
    """A random model: 4 decoder layers, a block with windows of 2 x 2 visual tokens and one without."""
    torch.manual_seed(0)
    text = {
        "vocab_size": 384, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 4,
        "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 0,
        "eos_token_id": 2, "initializer_range": 0.15,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": PATCH_PX,
        "spatial_merge_size": MERGE, "window_size": 2 * SIDE_PX, "out_hidden_size": 48, "fullatt_block_indexes": [1],
    }  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=IMAGE_TOKEN_ID, video_token_id=6,
        vision_start_token_id=3, vision_end_token_id=4, tie_word_embeddings=tied,
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    with torch.no_grad():  # norms of ones and biases of zeros would hide where they are forgotten
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.add_(0.2 * torch.randn_like(weight))
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=2, pad_token_id=0)
    return model


def tiny_image_processor() -> Any:
    """Qwen2-VL's own, whose smart resize gives 16 to 24 visual tokens."""
    return Qwen2VLImageProcessorPil(
        patch_size=PATCH_PX, merge_size=MERGE, min_pixels=16 * SIDE_PX**2, max_pixels=24 * SIDE_PX**2
    )


def write_qwen2_5_vl(folder: Path, *, tied: bool = False) -> Path:
    """A tiny checkpoint on disk."""
    tiny_qwen2_5_vl(tied=tied).save_pretrained(folder)
    processor = tiny_processor()
    processor.image_processor.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    return folder


def tiny_processor() -> ImageTextProcessor:
    """The parts of Qwen2.5-VL's processor; the whole one needs torchvision for its videos."""
    tokenizer = tiny_tokenizer()
    return ImageTextProcessor(tiny_image_processor(), tokenizer, "<|image_pad|>", tokenizer.chat_template)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and a few joined ones; the special tokens have Qwen's names."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()), eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:], chat_template=TEMPLATE,
    )  # fmt: skip


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return str(tokenizer.to_str())


def images() -> list[Image.Image]:
    """Two images whose own smart resize is one of `GRIDS` each, in this order."""
    dice = torch.Generator().manual_seed(1)
    sizes = [(height * SIDE_PX, width * SIDE_PX) for height, width in GRIDS]
    values = [torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=dice) for size in sizes]
    return [Image.fromarray(value.numpy()) for value in values]
