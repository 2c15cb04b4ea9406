"""ONNX target: dynamic-length graphs for ONNX Runtime, one copy of every weight."""

from vlmprune_export.backends.onnx.lower import QUANTISATIONS, lower, versions
from vlmprune_export.backends.onnx.quantise import FITTED

__all__ = ["FITTED", "QUANTISATIONS", "lower", "versions"]
