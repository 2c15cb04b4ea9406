"""Loads checkpoints: checks their files, dequantises, merges adapters, and refuses what is unsupported in one line."""

from vlmprune_export.checkpoint.loading import POCKET, Checkpoint, load_checkpoint

__all__ = ["POCKET", "Checkpoint", "load_checkpoint"]
