"""The module that lmms-eval imports for the model `vlmprune`."""

from vlmprune_tools.evaluation.lmms import VlmPrune

__all__ = ["VlmPrune"]
