"""Weights of a quantised stage that stay in floating point, summed by the operator that reads them, with the reason."""

from collections.abc import Iterable
from typing import NamedTuple

from vlmprune_runtime.schema import FloatWeights

# By a part of the operator's name; the first that fits.
_REASONS = (
    ("bias", "biases and positions are added, not multiplied"),
    ("conv", "a convolution over patches; only matrix products are quantised"),
    ("norm", "the scales and shifts of a norm are no matrix"),
    ("attention", "a fused attention, whose weights the quantiser does not see"),
    ("embedding", "a table of few rows"),
    ("gather", "a table of few rows"),
    ("matmul", "a product that the quantiser does not take"),
    ("gemm", "a product that the quantiser does not take"),
    ("linear", "a product that the quantiser does not take"),
    ("add", "biases and positions are added, not multiplied"),
    ("mul", "factors of single values are no matrix"),
)


class FloatWeight(NamedTuple):
    """One tensor: which operator reads it, how many numbers it has and how many bytes they take."""

    operator: str
    weights: int
    size_bytes: int


def sum_float_weights(found: Iterable[FloatWeight]) -> tuple[FloatWeights, ...]:
    """Returns the sums by operator, the largest first.

    >>> [sums] = sum_float_weights([FloatWeight("Add", 3, 12), FloatWeight("Add", 2, 8)])
    >>> sums.weights, sums.size_bytes, sums.reason
    (5, 20, 'biases and positions are added, not multiplied')
    """
    sums: dict[str, FloatWeight] = {}
    for operator, weights, size_bytes in found:
        before = sums.get(operator, FloatWeight(operator, 0, 0))
        sums[operator] = FloatWeight(operator, before.weights + weights, before.size_bytes + size_bytes)
    return tuple(
        FloatWeights(**one._asdict(), reason=_reason(one.operator))
        for one in sorted(sums.values(), key=lambda one: -one.size_bytes)
    )


def _reason(operator: str) -> str:
    return next((reason for part, reason in _REASONS if part in operator.lower()), "no matrix product")
