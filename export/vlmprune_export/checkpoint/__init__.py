"""Checkpoints: their files are looked at, loaded, dequantised, merged with an adapter, or refused in one line."""

from vlmprune_export.checkpoint.loading import POCKET, Checkpoint, load_checkpoint

__all__ = ["POCKET", "Checkpoint", "load_checkpoint"]
