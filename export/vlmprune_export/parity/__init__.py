"""Compares every stage of a bundle, run by its engine, with eager PyTorch."""

from vlmprune_export.parity.check import CheckRequest, check_bundle
from vlmprune_export.parity.limits import LIMITS, Limits
from vlmprune_export.parity.report import CheckReport

__all__ = ["LIMITS", "CheckReport", "CheckRequest", "Limits", "check_bundle"]
