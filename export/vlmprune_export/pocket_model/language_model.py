"""Reads SmolLM2-135M-Instruct from its GGUF file: a Llama state dict and a tokenizer."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HEADS, KV_HEADS = 9, 3
IMAGE_TOKEN, IMAGE_TOKEN_ID = "<image>", 4
START_ID, END_ID = 1, 2

CONFIG: dict[str, Any] = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
    "bos_token_id": START_ID,
    "eos_token_id": END_ID,
    "pad_token_id": END_ID,
}

GGUF_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GGUF_HEADS = {"attn_q": HEADS, "attn_k": KV_HEADS}


def language_weights(gguf_file: Path) -> dict[str, Tensor]:
    """Returns dequantised fp32 weights under the names of a HF `LlamaModel`."""
    from gguf import GGUFReader, dequantize

    weights = {}
    for entry in GGUFReader(gguf_file).tensors:
        weight = torch.from_numpy(dequantize(entry.data, entry.tensor_type).copy())
        weights[llama_name(entry.name)] = split_rotary(weight, GGUF_HEADS.get(entry.name.split(".")[-2], 0))
    return weights


def llama_name(gguf_name: str) -> str:
    """Returns the HF name of a GGUF tensor.

    >>> llama_name("blk.3.attn_q.weight")
    'layers.3.self_attn.q_proj.weight'
    >>> llama_name("token_embd.weight")
    'embed_tokens.weight'
    """
    outer = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
    if gguf_name in outer:
        return outer[gguf_name]
    _, layer, part, suffix = gguf_name.split(".")
    return f"layers.{layer}.{GGUF_LAYER_NAMES[part]}.{suffix}"


def split_rotary(weight: Tensor, heads: int) -> Tensor:  # (heads * 64, D) -> same
    """Reorders rows from GGUF's interleaved rotary pairs to HF's two halves; does nothing if `heads` is 0."""
    if not heads:
        return weight
    pairs = weight.view(heads, -1, 2, weight.shape[1])
    return pairs.transpose(1, 2).reshape(weight.shape)


def write_tokenizer(gguf_file: Path, folder: Path) -> None:
    """Writes `tokenizer.json` and its config, with one reserved token of the vocabulary renamed to `<image>`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(gguf_file.parent), gguf_file=gguf_file.name, trust_remote_code=False)
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    reserved = next(name for name, index in spec["model"]["vocab"].items() if index == IMAGE_TOKEN_ID)
    spec["model"]["vocab"] = {
        IMAGE_TOKEN if name == reserved else name: index for name, index in spec["model"]["vocab"].items()
    }
    for token in spec["added_tokens"]:
        if token["id"] == IMAGE_TOKEN_ID:
            token["content"] = IMAGE_TOKEN
    (folder / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=2), encoding="utf-8")


TOKENIZER_CONFIG: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
    "image_token": IMAGE_TOKEN,
    "extra_special_tokens": {"image_token": IMAGE_TOKEN},
    "clean_up_tokenization_spaces": False,
    "model_max_length": 8192,
    "padding_side": "left",
}
