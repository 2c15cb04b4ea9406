"""Commands that need PyTorch: `vlmprune-export` and `vlmprune-check`."""
