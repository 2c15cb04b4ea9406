"""Benchmark and accuracy records as one self-contained HTML page."""

from vlmprune_tools.report.accuracy import AccuracyRecord, AccuracyRow
from vlmprune_tools.report.page import render_report
from vlmprune_tools.report.reading import Records, read_records

__all__ = ["AccuracyRecord", "AccuracyRow", "Records", "read_records", "render_report"]
