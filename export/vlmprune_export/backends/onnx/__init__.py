"""ONNX target: dynamic-length graphs for ONNX Runtime, one copy of every weight."""

from vlmprune_export.backends.onnx.lower import QUANTISATIONS, lower, versions

__all__ = ["QUANTISATIONS", "lower", "versions"]
