"""The pruner as one function on tensors, for users who bring their own model."""

from typing import Any

import torch
from torch import Tensor

from vlmprune_export.pruners import build_pruner
from vlmprune_runtime.errors import BadRequest


def prune_tokens(
    hidden: Tensor, keys: Tensor, *, grid: tuple[int, int], keep: int, **settings: Any
) -> tuple[Tensor, Tensor]:  # (N, D), (N, Dk) -> (K,), (K, D)
    """Returns which `keep` of an image's visual tokens stay, ascending, and their aggregated rows of `hidden`.

    `grid` is (height, width), row-major; `hidden` is the raw output of the decoder layer before the cut and
    `keys` that layer's key states after RoPE, all heads side by side. `settings` are those of
    `VlmPrunerSettings`. With no more than `keep` tokens all stay, unchanged. Raises `BadRequest`.

    >>> hidden = torch.eye(6)
    >>> kept, fused = prune_tokens(hidden, hidden, grid=(2, 3), keep=2, pivots=1)
    >>> kept.tolist(), tuple(fused.shape)
    ([0, 1], (2, 6))
    """
    pruner = build_pruner("vlm-pruner", grid=grid, keep=keep, settings=settings)
    _check("hidden", hidden, grid)
    _check("keys", keys, grid)
    with torch.no_grad():
        kept, fused, _ = pruner(hidden, keys)
    return kept, fused


def _check(name: str, values: Tensor, grid: tuple[int, int]) -> None:
    tokens = grid[0] * grid[1]
    allowed = f"a floating-point tensor ({tokens}, width) for a {grid[0]} x {grid[1]} grid"
    if not isinstance(values, Tensor) or not values.is_floating_point():
        got = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise BadRequest(f"{name} is {got}; allowed: {allowed}")
    if values.dim() != 2 or values.shape[0] != tokens or values.shape[1] < 1:
        raise BadRequest(f"{name} has shape {tuple(values.shape)}; allowed: {allowed}")
    if not bool(torch.isfinite(values).all()):
        raise BadRequest(f"{name} holds NaN or infinite values; allowed: finite values")
