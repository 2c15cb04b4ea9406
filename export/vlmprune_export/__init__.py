"""This package exports with PyTorch: families, pruners, stages, backends, the bundle writer and the parity check.

Letters used in shapes are those of `vlmprune_runtime`; here also q, the channels that VLM-Pruner compares,
P pivots and B tokens in a batch.
"""

from typing import TYPE_CHECKING, Any

import vlmprune_runtime  # noqa: F401 - switches ONNX Runtime's telemetry off before anything imports it

if TYPE_CHECKING:
    from vlmprune_export.pruning import prune_tokens

__all__ = ["prune_tokens"]


def __getattr__(name: str) -> Any:
    """Imports `prune_tokens` when it is asked for, because the commands must be able to say that PyTorch is missing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vlmprune_export import pruning

    return getattr(pruning, name)
