"""Matrix products, convolution, normalisation, attention. Sums are float32, whatever the tensors are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.mil_reference.ops.activation import softmax

Array = npt.NDArray[Any]


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:  # (.., I), (O, I), (O,) -> (.., O)
    """x W^T + b."""
    found: Array = x @ weight.T
    return found if bias is None else found + bias


def matmul(x: Array, y: Array, transpose_x: Any = False, transpose_y: Any = False) -> Array:
    """The product over the last two axes, either side turned."""
    left = np.swapaxes(x, -1, -2) if transpose_x and x.ndim > 1 else x
    right = np.swapaxes(y, -1, -2) if transpose_y and y.ndim > 1 else y
    found: Array = left @ right
    return found


def einsum(values: tuple[Array, ...], equation: Any) -> Array:
    """The product that the equation names."""
    found: Array = np.einsum(str(equation), *values, optimize=True)
    return found


def scaled_dot_product_attention(query: Array, key: Array, value: Array, attn_mask: Array | None = None) -> Array:
    """softmax(Q K^T / sqrt(E) + mask) V; only the result is rounded, as of one fused operation."""
    scores = query @ np.swapaxes(key, -1, -2) / np.float32(np.sqrt(query.shape[-1]))
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else scores + attn_mask
    found: Array = softmax(scores.astype(query.dtype, copy=False)) @ value
    return found


def layer_norm(x: Array, axes: Any = None, gamma: Any = None, beta: Any = None, epsilon: Any = 1e-5) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over `axes`."""
    over = tuple(int(axis) for axis in np.ravel(axes)) if axes is not None else tuple(range(x.ndim))
    centred = x - x.mean(axis=over, keepdims=True)
    found: Array = centred / np.sqrt((centred * centred).mean(axis=over, keepdims=True) + epsilon)
    found = found if gamma is None else found * gamma
    return found if beta is None else found + beta


def batch_norm(x: Array, mean: Array, variance: Array, gamma: Any = None, beta: Any = None, epsilon: Any = 1e-5) -> Any:
    """Per channel (axis 1) with a mean and a variance that are given."""
    turned = (1, -1) + (1,) * (x.ndim - 2)
    found = (x - mean.reshape(turned)) / np.sqrt(variance.reshape(turned) + epsilon)
    found = found if gamma is None else found * gamma.reshape(turned)
    return found if beta is None else found + beta.reshape(turned)


def l2_norm(x: Array, epsilon: Any = 1e-6) -> Array:
    """x / sqrt(sum of squares over the last three axes + epsilon)."""
    over = tuple(range(max(0, x.ndim - 3), x.ndim))
    found: Array = x / np.sqrt((x * x).sum(axis=over, keepdims=True) + epsilon)
    return found


def conv(
    x: Array, weight: Array, bias: Array | None = None, strides: Any = None, pad_type: Any = "valid", pad: Any = None,
    dilations: Any = None, groups: Any = 1,
) -> Array:  # (B, C, *size), (O, C / groups, *kernel) -> (B, O, *size')  # fmt: skip
    """Cross-correlation, one product per group over patches."""
    rank = x.ndim - 2
    stride, spread = (_per_axis(value, rank) for value in (strides, dilations))
    reach = [step * (size - 1) + 1 for step, size in zip(spread, weight.shape[2:], strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *_padding(str(pad_type), pad, x.shape[2:], reach, stride)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, tuple(reach), tuple(range(2, 2 + rank)))  # type: ignore[call-overload]
    outer = tuple(slice(None, None, step) for step in stride)
    inner = tuple(slice(None, None, step) for step in spread)
    patches = windows[(slice(None), slice(None), *outer, *inner)]  # (B, C, *size', *kernel)
    count, parts = int(groups), []
    for piece, filters in zip(np.split(patches, count, 1), np.split(weight, count, 0), strict=True):
        over = [1, *range(2 + rank, 2 + 2 * rank)]
        parts.append(np.tensordot(piece, filters, (over, [1, *range(2, 2 + rank)])))
    found: Array = np.moveaxis(np.concatenate(parts, -1), -1, 1)
    return found if bias is None else found + bias.reshape((-1,) + (1,) * rank)


def _per_axis(value: Any, rank: int) -> list[int]:
    return [1] * rank if value is None else [int(one) for one in np.ravel(value)]


def _padding(kind: str, pad: Any, sizes: tuple[int, ...], reach: list[int], stride: list[int]) -> list[tuple[int, int]]:
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        both = [int(one) for one in np.ravel(pad)]
        return list(zip(both[::2], both[1::2], strict=True))
    missing = [
        max(0, (-(-size // step) - 1) * step + width - size)
        for size, width, step in zip(sizes, reach, stride, strict=True)
    ]
    if kind == "same":
        return [(total // 2, total - total // 2) for total in missing]
    if kind == "same_lower":
        return [(total - total // 2, total // 2) for total in missing]
    raise ValueError(f"pad_type {kind}")


LINEAR: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (linear, matmul, einsum, scaled_dot_product_attention, layer_norm, batch_norm, l2_norm, conv)
}
