"""Measures bundles stage by stage, pruned and unpruned interleaved, beside the speedup that the FLOPs allow."""

from vlmprune_runtime.benchmark.measure import BenchmarkRequest, measure
from vlmprune_runtime.benchmark.record import BenchmarkRecord

__all__ = ["BenchmarkRecord", "BenchmarkRequest", "measure"]
