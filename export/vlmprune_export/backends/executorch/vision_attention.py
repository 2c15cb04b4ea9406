"""Computes the vision tower's attention in operators that a delegate takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from vlmprune_export.families.window_attention import attend_in_windows

VISION_ATTENTION = "vlmprune_tower"


def _attention(
    module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Returns attention as batched products, 3 x (1, H, N, dh) -> (1, N, H, dh), within the tower's windows if any.

    `scaled_dot_product_attention` would be decomposed with a check for rows without any key, which no delegate takes.
    """

    def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        query, keys, values = (state.reshape(state.shape[1:]) for state in (query, keys, values))
        scores = torch.bmm(query * options["scaling"], keys.transpose(1, 2)).softmax(-1)
        return torch.bmm(scores, values)[None]

    mixed = attend_in_windows(attend, (query, keys, values), options.get("windows"))
    return mixed.transpose(1, 2).contiguous(), None


AttentionInterface.register(VISION_ATTENTION, _attention)


@contextmanager
def vision_attention(model: nn.Module) -> Iterator[None]:
    """Makes the model's vision tower attend in batched products while the block runs."""
    config: Any = model.config
    before = config.vision_config._attn_implementation
    model.set_attn_implementation({"vision_config": VISION_ATTENTION})  # type: ignore[operator]
    try:
        yield
    finally:
        model.set_attn_implementation({"vision_config": before})  # type: ignore[operator]
