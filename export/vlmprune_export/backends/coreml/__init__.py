"""Core ML target: one package per stage, caches as states, lengths as functions that share every weight."""

from vlmprune_export.backends.coreml.compress import FITTED
from vlmprune_export.backends.coreml.lower import OPTIONS, QUANTISATIONS, lower, versions

__all__ = ["FITTED", "OPTIONS", "QUANTISATIONS", "lower", "versions"]
