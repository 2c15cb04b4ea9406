"""A checkpoint with the dimensions of a published model and random weights, for measurements of time and memory.

    python -m vlmprune_tools.random_checkpoint qwen2_5_vl_3b --layers 4 --out ./random-qwen

Configs, processors and special tokens are as published; the other tokens are bytes, and then two and three ASCII
characters, so that a text has about as many tokens as in the published model. Answers mean nothing, and
which tokens are kept means little; times, sizes and memory are those of the model, with the layers that were left.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from vlmprune_export.quiet_libraries import quiet
from vlmprune_export.setting import parse_setting
from vlmprune_runtime.cli.entrypoint import command_parser, run_command
from vlmprune_runtime.errors import BadRequest, UnknownName

_QWEN_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
_QWEN_TOKENS = {
    "<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|vision_start|>": 151652,
    "<|vision_end|>": 151653, "<|vision_pad|>": 151654, "<|image_pad|>": 151655, "<|video_pad|>": 151656,
}  # fmt: skip
_TILES = {
    f"<row_{row}_col_{column}>": 49153 + 6 * (row - 1) + column - 1 for row in range(1, 7) for column in range(1, 7)
}
_SMOLVLM_TOKENS = {
    "<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2, "<global-img>": 49152, **_TILES,
    "<fake_token_around_image>": 49189, "<image>": 49190, "<end_of_utterance>": 49279,
}  # fmt: skip
_QWEN_TEXT = {
    "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
    "num_attention_heads": 16, "num_key_value_heads": 2, "max_position_embeddings": 128000, "rms_norm_eps": 1e-6,
    "bos_token_id": 151643, "eos_token_id": 151645,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}  # fmt: skip
_QWEN_VISION = {
    "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
    "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112, "out_hidden_size": 2048,
    "tokens_per_second": 2, "fullatt_block_indexes": [7, 15, 23, 31],
}  # fmt: skip
_SMOLVLM_VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 512, "patch_size": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Published:
    """What a model is made of. `save_processor` takes the folder and the tokenizer; `end` is the token that ends."""

    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    tokens: Mapping[str, int]
    end: str
    build: Callable[[dict[str, Any], dict[str, Any]], Any]
    save_processor: Callable[[Path, Any], None]


def _qwen(text: dict[str, Any], vision: dict[str, Any]) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    names = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
    ids: dict[str, Any] = {f"{name}_token_id": _QWEN_TOKENS[f"<|{token}|>"] for name, token in names.items()}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    return Qwen2_5_VLForConditionalGeneration(config)


def _save_qwen_processor(folder: Path, tokenizer: Any) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer.chat_template = _QWEN_TEMPLATE
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 16384).save_pretrained(folder)


def _smolvlm(text: dict[str, Any], vision: dict[str, Any]) -> Any:
    from transformers import LlamaConfig, SmolVLMConfig, SmolVLMForConditionalGeneration

    llama = LlamaConfig(**text, tie_word_embeddings=False)
    ids: dict[str, Any] = {"image_token_id": _SMOLVLM_TOKENS["<image>"], "pad_token_id": 2}
    config = SmolVLMConfig(text_config=llama, vision_config=vision, scale_factor=4, tie_word_embeddings=False, **ids)
    return SmolVLMForConditionalGeneration(config)


def _save_smolvlm_processor(folder: Path, tokenizer: Any) -> None:
    """Idefics3's processor under SmolVLM's name, whose own class needs torchvision for its videos."""
    from transformers import Idefics3Processor
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    images = SmolVLMImageProcessorPil(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512})
    Idefics3Processor(images, tokenizer, image_seq_len=64, chat_template=_SMOLVLM_TEMPLATE).save_pretrained(folder)
    for path in folder.glob("*config.json"):
        path.write_text(path.read_text().replace("Idefics3Processor", "SmolVLMProcessor"))


def _smollm(width: int, mlp: int, layers: int, heads: int, kv_heads: int) -> dict[str, Any]:
    return {
        "vocab_size": 49280, "hidden_size": width, "intermediate_size": mlp, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
    }  # fmt: skip


def _published_smolvlm(*dimensions: int) -> Published:
    return Published(
        _smollm(*dimensions), _SMOLVLM_VISION, _SMOLVLM_TOKENS, "<end_of_utterance>", _smolvlm, _save_smolvlm_processor
    )


MODELS: Mapping[str, Published] = {
    "qwen2_5_vl_3b": Published(
        _QWEN_TEXT, _QWEN_VISION, _QWEN_TOKENS, "<|im_end|>", _qwen, _save_qwen_processor
    ),
    "smolvlm_256m": _published_smolvlm(576, 1536, 30, 9, 3),
    "smolvlm_500m": _published_smolvlm(960, 2560, 32, 15, 5),
}  # fmt: skip


def write_random_checkpoint(name: str, out: Path, layers: int | None = None, settings: Mapping[str, Any] = {}) -> int:
    """Writes the checkpoint in bfloat16 and returns its number of weights.

    `layers` cuts the language model short; `settings` replace others of the config, named `text.NAME` and
    `vision.NAME`. Raises `UnknownName` and `BadRequest`.
    """
    if name not in MODELS:
        raise UnknownName("model", name, MODELS)
    if out.exists():
        raise BadRequest(f"{out} exists; allowed: a folder that does not")
    published, text = MODELS[name], {} if layers is None else {"num_hidden_layers": layers}
    text = dict(published.text) | text | _of_part(settings, "text")
    vision = dict(published.vision) | _of_part(settings, "vision")
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = published.build(text, vision)
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = [published.tokens[published.end]]
    model.save_pretrained(out)
    published.save_processor(out, _tokenizer(text["vocab_size"], published))
    return sum(weight.numel() for weight in model.parameters())


def _of_part(settings: Mapping[str, Any], part: str) -> dict[str, Any]:
    for name in settings:
        if name.split(".")[0] not in ("text", "vision"):
            raise BadRequest(f"setting {name!r}: allowed: text.NAME or vision.NAME")
    return {name.removeprefix(f"{part}."): value for name, value in settings.items() if name.startswith(f"{part}.")}


def _tokenizer(vocabulary: int, published: Published) -> Any:
    """Returns a tokenizer with the special tokens at their ids; at all others are bytes, pairs and triples."""
    from transformers import PreTrainedTokenizerFast

    taken = {index: token for token, index in published.tokens.items()}
    names = chain(sorted(pre_tokenizers.ByteLevel.alphabet()), map("".join, _longer_than_a_byte()))
    table = {taken.get(index) or next(names): index for index in range(vocabulary)}
    merges = [(name[:-1], name[-1]) for name in map("".join, _longer_than_a_byte()) if name in table]
    tokenizer = Tokenizer(models.BPE(table, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in published.tokens])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token=published.end, pad_token="<|endoftext|>"
    )


def _longer_than_a_byte() -> Iterator[tuple[str, ...]]:
    """Yields two and three printable ASCII characters; the space is written as byte-level tokenizers write it."""
    characters = [chr(code) for code in range(33, 127)] + ["\u0120"]
    return chain(product(characters, repeat=2), product(characters, repeat=3))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    examples = "  python -m vlmprune_tools.random_checkpoint qwen2_5_vl_3b --layers 4 --out ./random-qwen\n"
    command = command_parser("python -m vlmprune_tools.random_checkpoint", __doc__.splitlines()[0], examples)
    command.add_argument("name", metavar="NAME", help=", ".join(MODELS))
    command.add_argument("--layers", type=int, metavar="N", help="decoder layers that stay; default: all")
    command.add_argument("--set", action="append", default=[], metavar="PART.NAME=VALUE", dest="settings")
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="checkpoint folder; must not exist")
    return command


def run(args: argparse.Namespace) -> None:
    """Writes one checkpoint."""
    settings = dict(parse_setting(text) for text in args.settings)
    with quiet():
        weights = write_random_checkpoint(args.name, args.out, args.layers, settings)
    print(f"{args.out}: {weights / 1e6:.0f} million random weights of {args.name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_command(parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
