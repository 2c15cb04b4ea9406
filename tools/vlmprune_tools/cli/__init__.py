"""The commands `vlmprune-eval` and `vlmprune-report`."""
