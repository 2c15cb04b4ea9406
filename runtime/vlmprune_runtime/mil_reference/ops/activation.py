"""Activations and softmax."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.mil_reference.ops.elementwise import erf

Array = npt.NDArray[Any]


def softmax(x: Array, axis: Any = -1) -> Any:
    """Exponentials that sum to 1 along `axis`; a row without a finite value gives NaN, as IEEE arithmetic does."""
    raised = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return raised / raised.sum(axis=int(axis), keepdims=True)


def gelu(x: Array, mode: Any = "EXACT") -> Any:
    """Exact, or by tanh or sigmoid."""
    kind = str(mode)
    if kind == "EXACT":
        return 0.5 * x * (1 + erf(x * np.float32(1 / np.sqrt(2))))
    if kind == "TANH_APPROXIMATION":
        return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.044715 * x**3)))
    if kind == "SIGMOID_APPROXIMATION":
        return x * sigmoid(1.702 * x)
    raise ValueError(f"gelu mode {kind}")


def sigmoid(x: Array) -> Any:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def silu(x: Array) -> Any:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


def relu(x: Array) -> Any:
    """max(x, 0)."""
    return np.maximum(x, 0)


def relu6(x: Array) -> Any:
    """x between 0 and 6."""
    return np.clip(x, 0, 6)


def leaky_relu(x: Array, alpha: Any = 0.01) -> Any:
    """x, times `alpha` below 0."""
    return np.where(x >= 0, x, alpha * x)


def elu(x: Array, alpha: Any = 1.0) -> Any:
    """x, alpha * (exp(x) - 1) below 0."""
    return np.where(x >= 0, x, alpha * np.expm1(x))


def softplus(x: Array) -> Any:
    """log(1 + exp(x))."""
    return np.logaddexp(x, 0).astype(x.dtype)


def softsign(x: Array) -> Any:
    """x / (1 + |x|)."""
    return x / (1 + np.abs(x))


def clamped_relu(x: Array, alpha: Any, beta: Any) -> Any:
    """min(x, beta), times `alpha` below 0."""
    return np.minimum(np.where(x >= 0, x, alpha * x), beta)


def linear_activation(x: Array, alpha: Any, beta: Any = 0.0) -> Any:
    """alpha * x + beta."""
    return alpha * x + beta


def sigmoid_hard(x: Array, alpha: Any = 0.2, beta: Any = 0.5) -> Any:
    """alpha * x + beta between 0 and 1."""
    return np.clip(alpha * x + beta, 0, 1)


def scaled_tanh(x: Array, alpha: Any = 1.0, beta: Any = 1.0) -> Any:
    """alpha * tanh(beta * x)."""
    return alpha * np.tanh(beta * x)


ACTIVATION: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        softmax, gelu, sigmoid, silu, relu, relu6, leaky_relu, elu, softplus, softsign, clamped_relu,
        linear_activation, sigmoid_hard, scaled_tanh,
    )
}  # fmt: skip
