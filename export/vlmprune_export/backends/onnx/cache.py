"""Attention over a KV cache that the caller owns: `com.microsoft::GroupQueryAttention`.

Past and present may be bound to one buffer, so a token costs one row of memory traffic, and one graph of dynamic
length serves prefill and decode. RoPE stays in the model's own code: kept tokens have their original positions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class GroupQueryCache:
    """Emits one GroupQueryAttention node per layer while a stage is captured."""

    def __init__(self, past: dict[int, tuple[Tensor, Tensor]], total_tokens: Tensor) -> None:
        self.past = past
        self.total_tokens = total_tokens  # (1,) int32
        self.last_token = (total_tokens - 1).to(torch.int32)
        self.present: dict[int, tuple[Tensor, Tensor]] = {}
        self.new_keys: Tensor | None = None
        self.new_query: Tensor | None = None
        self.views: Tensor | None = None

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Stores nothing, because the attention node writes the buffers."""
        self.new_keys = keys
        return keys, values

    def attend(self, layer_idx: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Returns the attention, (1, Hq, S, dh), 2 x (1, Hkv, S, dh) -> (1, S, Hq, dh)."""
        past = self.past[layer_idx]
        packed = [_side_by_side(states) for states in (query, keys, values)]
        mixed, *present = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::GroupQueryAttention",
            (*packed, *past, self.last_token, self.total_tokens),
            {"num_heads": query.shape[1], "kv_num_heads": keys.shape[1], "scale": float(scaling)},
            dtypes=[query.dtype] * 3,
            shapes=[packed[0].shape, past[0].shape, past[1].shape],
            version=1,
        )
        self.present[layer_idx] = (present[0], present[1])
        by_head: Tensor = mixed.unflatten(-1, (query.shape[1], query.shape[3]))
        return by_head

    def presents(self) -> Sequence[Tensor]:
        """Returns the key and the value buffer of each layer in turn."""
        return [buffer for index in sorted(self.present) for buffer in self.present[index]]


def _side_by_side(states: Tensor) -> Tensor:  # (1, H, S, dh) -> (1, S, H * dh)
    return states.transpose(1, 2).flatten(2)
