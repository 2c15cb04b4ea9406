"""Tiny random checkpoints of SmolVLM and Idefics3: tiles of 4 x 4 visual tokens, and a tokenizer as theirs."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

TILE_PX, TILE_TOKENS = 32, 16
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>"]
SPECIAL += ["<global-img>"]
ROWS_AND_COLUMNS = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
IMAGE_TOKEN_ID = SPECIAL.index("<image>")
MODELS: dict[str, Any] = {"smolvlm": SmolVLMForConditionalGeneration, "idefics3": Idefics3ForConditionalGeneration}
CONFIGS: dict[str, Any] = {"smolvlm": SmolVLMConfig, "idefics3": Idefics3Config}
IMAGE_PROCESSORS: dict[str, Any] = {"smolvlm": SmolVLMImageProcessorPil, "idefics3": Idefics3ImageProcessorPil}
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_CORPUS = ["User: what is in the picture? Assistant: a dog and a cat, left of the bus.", "one\n\ntwo\nthree\n\n"] * 4


def tiny_smolvlm(kind: str = "smolvlm", *, tied: bool = False) -> Any:
    """A random model with 4 decoder layers, 2 of 6 heads hold keys, and 4 x 4 visual tokens of 8 x 8 patches."""
    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=448, hidden_size=48, intermediate_size=80, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=tied,
    )  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": TILE_PX, "patch_size": 4,
    }  # fmt: skip
    config = CONFIGS[kind](
        text_config=text, vision_config=vision, scale_factor=2, image_token_id=IMAGE_TOKEN_ID, pad_token_id=0,
        tie_word_embeddings=tied,
    )  # fmt: skip
    model = MODELS[kind](config).eval()
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    return model


def write_smolvlm(folder: Path, kind: str = "smolvlm", *, tiles: int = 3, tied: bool = False) -> Path:
    """A tiny checkpoint on disk, whose images become at most so many tiles on a side."""
    tiny_smolvlm(kind, tied=tied).save_pretrained(folder)
    processor = tiny_processor(kind, tiles=tiles)
    processor.save_pretrained(folder)
    if kind == "smolvlm":
        _call_it_smolvlm(folder)
    return folder


def tiny_processor(kind: str = "smolvlm", *, tiles: int = 3) -> Idefics3Processor:
    """A processor whose expansion of images is that of both kinds; SmolVLM's own needs torchvision for its videos."""
    image_processor = IMAGE_PROCESSORS[kind](
        size={"longest_edge": tiles * TILE_PX}, max_image_size={"longest_edge": TILE_PX}
    )
    return Idefics3Processor(image_processor, tiny_tokenizer(), image_seq_len=TILE_TOKENS, chat_template=TEMPLATE)


def _call_it_smolvlm(folder: Path) -> None:
    for path in folder.glob("*.json"):
        if path.name != "tokenizer.json":
            path.write_text(path.read_text().replace("Idefics3Processor", "SmolVLMProcessor"))


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=[*SPECIAL, *ROWS_AND_COLUMNS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer.to_str()


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, with the special tokens of SmolVLM in front and merges of its own, two line breaks among them."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[3:],
    )
