"""VLM-Pruner (arXiv 2512.02700): pivots, selection, aggregation, one file per stage of the method."""

from vlmprune_export.pruners.vlm_pruner.method import VlmPruner
from vlmprune_export.pruners.vlm_pruner.settings import VlmPrunerSettings

__all__ = ["VlmPruner", "VlmPrunerSettings"]
