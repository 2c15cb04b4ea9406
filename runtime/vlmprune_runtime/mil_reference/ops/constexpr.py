"""Compressed weights: the dense array that each stands for (coremltools, mil/ops/defs/iOS16 and iOS18)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def constexpr_blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Array:
    """scale * (data - offset), a scale and an offset per block; computed in the scale's dtype as it is stored."""
    shape = data.shape
    blocks = [size for count, whole in zip(scale.shape, shape, strict=True) for size in (count, whole // count)]
    inner = [size for count in scale.shape for size in (count, 1)]
    values = data.astype(scale.dtype).reshape(blocks)
    if offset is not None:
        values = values - offset.astype(scale.dtype).reshape(inner)
    found: Array = (values * scale.reshape(inner)).reshape(shape)
    return found


def constexpr_lut_to_dense(indices: Array, lut: Array, vector_axis: Any = None, shape: Array | None = None) -> Array:
    """The palette's entry at each index; palettes per block, entries of one value.

    >>> palettes = np.array([1.0, 5.0, 2.0, 6.0]).reshape(2, 1, 2, 1)
    >>> constexpr_lut_to_dense(np.array([[0, 1], [1, 0]]), palettes).tolist()
    [[1.0, 5.0], [6.0, 2.0]]
    """
    if shape is not None:
        raise ValueError("the iOS 16 form of palettes")
    if lut.shape[-1] != 1:
        raise ValueError("palettes of vectors")
    places = []
    for axis, (size, count) in enumerate(zip(indices.shape, lut.shape[:-2], strict=True)):
        turned = [1] * indices.ndim
        turned[axis] = size
        places.append((np.arange(size) // (size // count)).reshape(turned))
    found: Array = lut[..., 0][(*places, indices)]
    return found


def constexpr_sparse_to_dense(nonzero_data: Array, mask: Array) -> Array:
    """Zeros but where the mask is set."""
    found = np.zeros(mask.shape, nonzero_data.dtype)
    found[mask != 0] = nonzero_data
    return found


def constexpr_affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: Any) -> Any:
    """scale * (data - zero point), one of each or one per place along `axis`."""
    turned = [1] * quantized_data.ndim
    turned[int(axis)] = -1
    zero, factor = (one.reshape(turned) if one.ndim else one for one in (zero_point, scale))
    return factor * (quantized_data.astype(scale.dtype) - zero.astype(scale.dtype))


def constexpr_cast(source_val: Array, output_dtype: Any) -> Array:
    """The same numbers in another dtype."""
    return source_val.astype({"fp16": "float16", "fp32": "float32"}[str(output_dtype)])


CONSTEXPR: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        constexpr_blockwise_shift_scale, constexpr_lut_to_dense, constexpr_sparse_to_dense,
        constexpr_affine_dequantize, constexpr_cast,
    )
}  # fmt: skip
