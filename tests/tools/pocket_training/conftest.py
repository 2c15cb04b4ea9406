"""A tiny random model of the default model's shape, and a tokenizer of whole words."""

import copy
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pocket_training.adapted_model import adapt, updates
from pocket_training.tokens import Tokens
from vlmprune_export.pocket_model import language_model, vision_tower
from vlmprune_export.pocket_model.assembly import pocket_config

VOCABULARY, RESERVED = 512, 17


class WordTokenizer:
    """A token per word, numbered by a checksum."""

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [RESERVED + zlib.crc32(word.encode()) % (VOCABULARY - RESERVED) for word in text.split()]


@pytest.fixture(scope="session")
def tokens() -> Tokens:
    return Tokens(WordTokenizer())


@pytest.fixture(scope="session")
def tiny_model() -> Any:
    """Not to be changed."""
    from transformers import Dinov2Config, LlamaConfig, LlavaModel

    config = pocket_config()
    narrow = {"vocab_size": VOCABULARY, "num_hidden_layers": 2, "hidden_size": 24, "intermediate_size": 24}
    narrow |= {"num_attention_heads": 3, "num_key_value_heads": 1}
    config.text_config = LlamaConfig(**language_model.CONFIG | narrow)
    config.vision_config = Dinov2Config(
        **vision_tower.CONFIG | {"hidden_size": 16, "num_attention_heads": 1, "mlp_ratio": 1}
    )
    torch.manual_seed(0)
    return LlavaModel(config).bfloat16().float().eval()  # values that a frozen bf16 linear holds exactly


@pytest.fixture
def adapted(tiny_model: Any) -> Any:
    return adapt(copy.deepcopy(tiny_model))


@pytest.fixture
def changed(adapted: Any) -> Any:
    """Updates that do something, as after training, with values that fp16 holds."""
    for _, update in updates(adapted):
        torch.nn.init.normal_(update.lora_b, std=0.02)
        for value in (update.lora_a, update.lora_b):
            value.data = value.data.half().float()
    return adapted


@pytest.fixture(scope="session")
def new_model(tiny_model: Any) -> Callable[[], Any]:
    return lambda: copy.deepcopy(tiny_model)
