"""Torch side of vlmprune: adapters, pruners, stages, backends, the bundle writer and the parity check.

Letters used in shapes are those of `vlmprune_runtime`; here also q, the channels that VLM-Pruner compares,
P pivots and B tokens in a batch.
"""

from vlmprune_export.pruning import prune_tokens

__all__ = ["prune_tokens"]
