"""Attention of a vision tower within windows of patches: windows of one size run at once, side by side like heads."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

WINDOW_ATTENTION = "vlmprune_windows"
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Full attention, 3 x (1, H, n, dh) -> (1, H, n, dh)."""


def attend_in_windows(attend: Attend, states: Sequence[Tensor], windows: Sequence[int] | None) -> Tensor:
    """Returns attention within each window, 3 x (1, H, N, dh) -> (1, H, N, dh); without windows that over all rows.

    `windows` are the lengths of the windows, which follow each other in the rows.
    """
    if windows is None:
        return attend(*states)
    runs = [(length, sum(1 for _ in group)) for length, group in groupby(windows)]
    if len(runs) == 1:  # no split and no joining, which would be copies in an exported graph
        return _side_by_side(attend, states, runs[0][0])
    parts = [state.split([length * count for length, count in runs], 2) for state in states]
    mixed = [
        _side_by_side(attend, part, length) for part, (length, _) in zip(zip(*parts, strict=True), runs, strict=True)
    ]
    return torch.cat(mixed, 2)


def _side_by_side(attend: Attend, states: Sequence[Tensor], length: int) -> Tensor:
    shape = states[0].shape
    return attend(*(state.reshape(1, -1, length, shape[3]) for state in states)).reshape(shape)


def _attention(
    module: nn.Module, query: Tensor, keys: Tensor, values: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return scaled_dot_product_attention(query, keys, values, scale=options["scaling"])

    mixed = attend_in_windows(attend, (query, keys, values), options.get("windows"))
    return mixed.transpose(1, 2).contiguous(), None


AttentionInterface.register(WINDOW_ATTENTION, _attention)
