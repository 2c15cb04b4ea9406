"""FLOPs of the vision stage, counted by running it once."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vlmprune_export.adapters import Adapter


def count_vision_flops(adapter: Adapter) -> int:
    """Matrix products and convolutions of one image through tower and projector, a multiply-add counted as two.

    Attention runs as plain products, since the counter knows no fused CPU kernel.
    """
    first = next(adapter.model.parameters())
    pixels = torch.zeros(1, 3, *adapter.image_size_px, dtype=first.dtype, device=first.device)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        adapter.visual(pixels)
    return int(counter.get_total_flops())
