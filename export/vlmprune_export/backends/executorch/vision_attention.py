"""Attention of the vision tower, in the operators that a delegate takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

VISION_ATTENTION = "vlmprune_tower"


def _attention(
    module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Full attention as batched products, 3 x (1, H, N, dh) -> (1, N, H, dh).

    `scaled_dot_product_attention` would be decomposed with a check for rows without any key, which no delegate takes.
    """
    heads, tokens, width = query.shape[1:]
    query, keys, values = (part.reshape(heads, tokens, width) for part in (query, keys, values))
    scores = torch.bmm(query * options["scaling"], keys.transpose(1, 2)).softmax(-1)
    return torch.bmm(scores, values)[None].transpose(1, 2).contiguous(), None


AttentionInterface.register(VISION_ATTENTION, _attention)


@contextmanager
def vision_attention(model: nn.Module) -> Iterator[None]:
    """Within, the model's vision tower attends as above."""
    config: Any = model.config
    before = config.vision_config._attn_implementation
    model.set_attn_implementation({"vision_config": VISION_ATTENTION})  # type: ignore[operator]
    try:
        yield
    finally:
        model.set_attn_implementation({"vision_config": before})  # type: ignore[operator]
