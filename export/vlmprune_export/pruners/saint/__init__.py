"""SAINT (arXiv 2503.11549) drops tokens that are much like many others, from keys alone."""

from vlmprune_export.pruners.pruner import Pruner
from vlmprune_export.pruners.saint.adaptive import SaintAdaptive
from vlmprune_export.pruners.saint.decoder import Saint
from vlmprune_export.pruners.saint.settings import SaintSettings, saint_layer, saint_places
from vlmprune_export.pruners.saint.tower import SaintTower
from vlmprune_export.pruners.site import Site

__all__ = ["Saint", "SaintAdaptive", "SaintSettings", "SaintTower", "saint_layer", "saint_places", "saint_pruner"]


def saint_pruner(site: Site, settings: SaintSettings) -> Pruner:
    """Returns the pruner inside the vision tower, or the one before a decoder layer."""
    if site.at == "vision":
        return SaintTower(site, settings)
    return SaintAdaptive(site, settings) if settings.adaptive and site.keep < site.tokens else Saint(site, settings)
