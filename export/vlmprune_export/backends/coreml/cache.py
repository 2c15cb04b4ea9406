"""Attention over caches that Core ML keeps as states: one for all keys of a stage, one for all values.

Each state is read once and written once per call: a layer attends over its own slice of the state and its new rows, and
the new rows of all layers are written together at the end. States are fp16, because Core ML has no others.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vlmprune_export.stage_modules import DecoderStage
from vlmprune_runtime.schema import TextModel

STEP_TOKENS = 32
"""The Neural Engine refuses caches whose length is no multiple of it."""


class PrefillCache:
    """The cache of a prompt that begins at row 0: tokens attend to earlier ones, and none to the padding at the end."""

    def __init__(self) -> None:
        self.rows: list[tuple[Tensor, Tensor]] = []
        self.new_keys: Tensor | None = None
        self.new_query: Tensor | None = None
        self.views: Tensor | None = None

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Records the rows, which `StateLayout.write` writes later."""
        self.new_keys = keys
        self.rows.append((keys, values))
        return keys, values

    def attend(self, layer_idx: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Returns the causal attention, (1, Hq, S, dh), 2 x (1, Hkv, S, dh) -> (1, S, Hq, dh)."""
        tokens, group = query.shape[2], query.shape[1] // keys.shape[1]
        places = torch.arange(tokens, dtype=torch.int32)
        mask = (places[None] <= places[:, None])[None, None]
        keys, values = (part.repeat_interleave(group, 1) for part in (keys, values))
        return _attention(query, keys, values, mask, scaling).transpose(1, 2)


class DecodeCache:
    """The cache of tokens that are written behind the past ones; each attends to those and to itself.

    Rows of padding at the end change no other: who comes later overwrites them, and what would lie behind the last row
    of a state is dropped.
    """

    def __init__(self, keys: Tensor, values: Tensor, past_tokens: Tensor, first_layer: int) -> None:
        """Takes states (layers, kv_heads, capacity, head_dim) and the number of tokens in them, (1,) int32."""
        self.states, self.past_tokens, self.first_layer = (keys, values), past_tokens, first_layer
        self.rows: list[tuple[Tensor, Tensor]] = []
        self.new_keys: Tensor | None = None
        self.new_query: Tensor | None = None
        self.views: Tensor | None = None

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Returns the layer's rows so far, the new row among them."""
        self.new_keys = keys
        self.rows.append((keys, values))
        at = layer_idx - self.first_layer
        past_keys, past_values = (state[at : at + 1] for state in self.states)
        return with_rows(past_keys, keys, self.past_tokens), with_rows(past_values, values, self.past_tokens)

    def attend(self, layer_idx: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Returns the attention of the tokens, (1, Hq, T, dh), 2 x (1, Hkv, C, dh) -> (1, T, Hq, dh).

        The query heads of a key head are the rows of one product.
        """
        _, heads, tokens, width = query.shape
        group = heads // keys.shape[1]
        rows = torch.arange(keys.shape[2], dtype=torch.int32)[None]
        last = self.past_tokens[:, None] + torch.arange(tokens, dtype=torch.int32)[:, None]
        mask = (rows <= last)[None, None]
        grouped = query.reshape(1, keys.shape[1], group * tokens, width)
        mask = mask if tokens == 1 else mask.repeat(1, 1, group, 1)
        return _attention(grouped, keys, values, mask, scaling).reshape(1, heads, tokens, width).transpose(1, 2)


def with_rows(past: Tensor, new: Tensor, past_tokens: Tensor) -> Tensor:
    """Returns a state with new rows behind the past ones, (L, Hkv, C, dh), (L, Hkv, T, dh), (1,) -> (L, Hkv, C, dh)."""
    tokens = new.shape[2]
    if tokens == 1:
        written: Tensor = torch.ops.aten.index_put(past, [None, None, past_tokens], new)
        return written
    nth = torch.arange(past.shape[2], dtype=torch.int32) - past_tokens  # of the new rows
    nearest = nth.clamp(0, tokens - 1)
    return torch.where((nth == nearest)[:, None], new.index_select(2, nearest), past)


def _attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scaling: float) -> Tensor:
    """Leaves the usual scale out of the call, because only such a call becomes Core ML's fused operator."""
    usual = query.shape[-1] ** -0.5
    if abs(scaling - usual) > 1e-6 * usual:
        query = query * (scaling / usual)
    return scaled_dot_product_attention(query, keys, values, mask)


@dataclass(frozen=True)
class StateLayout:
    """The layout of a decoder stage's two states `k_NAME`, `v_NAME`: each (layers, kv_heads, capacity, head_dim)."""

    name: str
    layers: range
    kv_heads: int
    capacity_tokens: int
    head_dim: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Returns the shape of either state."""
        return len(self.layers), self.kv_heads, self.capacity_tokens, self.head_dim

    @property
    def names(self) -> tuple[str, str]:
        """Returns the names of the states of keys and values."""
        return f"k_{self.name}", f"v_{self.name}"

    def add_to(self, module: nn.Module) -> None:
        """Adds empty states to a module."""
        for name in self.names:
            module.register_buffer(name, torch.zeros(self.shape), persistent=False)

    def decode_cache(self, module: nn.Module, past_tokens: Tensor) -> DecodeCache:
        """Returns the cache of tokens behind others on the states of a module."""
        keys, values = map(module.get_buffer, self.names)
        return DecodeCache(keys, values, past_tokens, self.layers[0])

    def write(self, module: nn.Module, rows: list[tuple[Tensor, Tensor]], past_tokens: Tensor | None = None) -> None:
        """Writes new rows of all layers into a module's states, from row 0 on or behind the past tokens."""
        for name, new in zip(self.names, zip(*rows, strict=True), strict=True):
            state = module.get_buffer(name)
            together = torch.cat(new)
            if past_tokens is None:
                state[:, :, : together.shape[2]] = together
            elif together.shape[2] == 1:
                state[:, :, past_tokens] = together
            else:
                state[:] = with_rows(state, together, past_tokens)


def state_layout(name: str, stage: DecoderStage, text: TextModel, context_tokens: int) -> StateLayout:
    """Returns the layout with room for the context, rounded up to whole steps."""
    capacity = -(-context_tokens // STEP_TOKENS) * STEP_TOKENS
    return StateLayout(name, stage.layer_indices, text.kv_heads, capacity, text.head_dim)
