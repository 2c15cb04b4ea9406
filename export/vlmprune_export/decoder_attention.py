"""Registers one attention function for Hugging Face decoder layers, which leaves the arithmetic to the stage's cache.

A decoder layer hands its cache the post-RoPE keys and values, then calls the attention function of its config.
Both ends meet in one object, the stage cache: it sees the keys (which pruning needs) and does the attention in
the form its backend runs best.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "vlmprune"


class StageCache(Protocol):
    """The cache that a decoder layer gets as `past_key_values`, and that its attention calls.

    `new_keys` and `new_query` are those of the layer that ran last, after RoPE, (1, heads, S, dh). `views` (S,) are the
    views that new tokens belong to, negative for others, where the tokens of a view attend to each other both ways.
    """

    new_keys: Tensor | None
    new_query: Tensor | None
    views: Tensor | None

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *args: Any) -> tuple[Tensor, Tensor]:
        """Stores a layer's new keys and values; returns those that its attention shall see."""
        ...

    def attend(  # (1, Hq, S, dh), (1, Hkv, T, dh), (1, Hkv, T, dh) -> (1, S, Hq, dh)
        self, layer_idx: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float
    ) -> Tensor:
        """Returns causal attention of the new queries over all tokens so far."""
        ...


class TorchCache:
    """The KV cache of eager PyTorch, which grows by concatenation: the reference of every backend."""

    def __init__(self, past_tokens: int = 0, past: "TorchCache | None" = None) -> None:
        layers = {} if past is None else past.layers
        self.layers: dict[int, tuple[Tensor, Tensor]] = {
            index: (keys[:, :, :past_tokens], values[:, :, :past_tokens]) for index, (keys, values) in layers.items()
        }
        self.new_keys: Tensor | None = None
        self.new_query: Tensor | None = None
        self.views: Tensor | None = None

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Appends to the layer's cache, and returns all of it."""
        self.new_keys = keys
        if layer_idx in self.layers:
            past_keys, past_values = self.layers[layer_idx]
            keys, values = torch.cat([past_keys, keys], 2), torch.cat([past_values, values], 2)
        self.layers[layer_idx] = (keys, values)
        return keys, values

    def attend(self, layer_idx: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Returns scaled dot-product attention under a causal mask aligned to the end, or one open within views."""
        new, total = query.shape[2], keys.shape[2]
        mask = torch.ones(new, total, dtype=torch.bool).tril(total - new)
        if self.views is not None:
            mask[:, total - new :] |= (self.views[:, None] == self.views[None]) & (self.views >= 0)[None]
        mixed = scaled_dot_product_attention(query, keys, values, mask, scale=scaling, enable_gqa=True)
        return mixed.transpose(1, 2)


class Projections:
    """Stands in for a cache where only the keys and queries of a layer are asked for, and not its attention."""

    def __init__(self) -> None:
        self.new_keys: Tensor | None = None
        self.new_query: Tensor | None = None
        self.views: Tensor | None = None

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Notes the layer's keys."""
        self.new_keys = keys
        return keys, values

    def attend(self, layer_idx: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Returns the queries in the shape of an output that nobody reads."""
        return query.transpose(1, 2)


def _attention(
    module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    cache: StageCache | None = options.pop("stage_cache", None)
    if cache is None:  # a plain Hugging Face forward of the same model
        output: tuple[Tensor, None] = sdpa_attention_forward(module, query, keys, values, mask, **options)
        return output
    index = int(module.layer_idx)  # type: ignore[arg-type]
    cache.new_query = query
    return cache.attend(index, query, keys, values, options["scaling"]), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
