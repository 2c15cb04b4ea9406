"""Measuring a bundle: pruned and unpruned interleaved, stage by stage, beside what the FLOPs allow."""

from vlmprune_runtime.benchmark.measure import BenchmarkRequest, measure
from vlmprune_runtime.benchmark.record import BenchmarkRecord

__all__ = ["BenchmarkRecord", "BenchmarkRequest", "measure"]
