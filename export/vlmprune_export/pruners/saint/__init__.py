"""SAINT (arXiv 2503.11549) drops tokens that are much like many others, from keys alone."""

from vlmprune_export.pruners.saint.decoder import Saint
from vlmprune_export.pruners.saint.settings import SaintSettings, saint_layer

__all__ = ["Saint", "SaintSettings", "saint_layer"]
