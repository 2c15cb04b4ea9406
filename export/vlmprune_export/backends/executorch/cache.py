"""Attention over a KV cache that lives in the method itself: ExecuTorch's `update_cache` and `custom_sdpa`.

The fused kernel reads only the rows written so far and makes no mask; composing attention of portable kernels would
slow the unpruned prefill most and flatter pruning. It still does a little: the kernel does fewer FLOPs per second than
XNNPACK's products (on one x86 core a third of pocket's tail at 640 tokens, a ninth at 128), so that ratios of the tail
pass what the FLOPs allow. The same operators run the stock LLM runner and come with the Android library.
"""

from collections.abc import Mapping
from typing import Any

import executorch.extension.llm.custom_ops.custom_ops  # noqa: F401 - registers torch.ops.llama
import torch
from torch import Tensor, nn

from vlmprune_export.stage_modules import DecoderStage
from vlmprune_runtime.schema import TextModel

Buffers = Mapping[int, tuple[Tensor, Tensor]]


class SdpaCache:
    """Writes new keys and values from row `start` of the buffers on, and attends over all rows up to them."""

    def __init__(self, buffers: Buffers, start: int) -> None:
        """Creates a key and a value buffer per layer, each (1, capacity, kv_heads, head_dim)."""
        self.buffers, self.start = buffers, start
        self.new_keys: Tensor | None = None
        self.new_query: Tensor | None = None
        self.views: Tensor | None = None

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Stores nothing yet, because `attend` writes the buffers."""
        self.new_keys = keys
        return keys, values

    def attend(self, layer_idx: int, query: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
        """Returns the attention, (1, Hq, S, dh), 2 x (1, Hkv, S, dh) -> (1, S, Hq, dh)."""
        past_keys, past_values = self.buffers[layer_idx]
        torch.ops.llama.update_cache(keys.transpose(1, 2), past_keys, self.start)
        torch.ops.llama.update_cache(values.transpose(1, 2), past_values, self.start)
        mixed: Tensor = torch.ops.llama.custom_sdpa(
            query.transpose(1, 2), past_keys, past_values, self.start, None, 0.0, True, scaling
        )
        return mixed


class SelfCachedStage(nn.Module):
    """A decoder stage as the one owner of its cache buffers."""

    def __init__(self, stage: DecoderStage, text: TextModel, capacity_tokens: int) -> None:
        super().__init__()
        self.stage, self.capacity_tokens = stage, capacity_tokens
        shape = (1, capacity_tokens, text.kv_heads, text.head_dim)
        for index in stage.layer_indices:
            self.register_buffer(f"key_{index}", torch.zeros(shape))
            self.register_buffer(f"value_{index}", torch.zeros(shape))

    def forward(self, rows: Tensor, positions: Tensor, past_tokens: Tensor) -> Any:  # (S, D), (S,), (1,)
        """Returns the stage's outputs."""
        start: Any = past_tokens[0].item()  # symbolic while capturing: int() would ask for its value
        torch._check_is_size(start)
        torch._check(start < self.capacity_tokens)
        torch._check(start + rows.shape[0] <= self.capacity_tokens)
        return self.stage(rows, positions, SdpaCache(self.layer_buffers(), start))

    def layer_buffers(self) -> Buffers:
        """Returns key and value buffer of each layer."""
        return {
            index: (self.get_buffer(f"key_{index}"), self.get_buffer(f"value_{index}"))
            for index in self.stage.layer_indices
        }
