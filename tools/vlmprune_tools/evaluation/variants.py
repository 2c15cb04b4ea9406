"""Parses pruners from the command line: a name, optionally with settings (`vlm-pruner:batch=1:aggregate=false`)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from vlmprune_export.pruners import PRUNERS, pruner_kind, pruner_name
from vlmprune_export.pruners.resize import RESIZE
from vlmprune_export.setting import parse_setting
from vlmprune_runtime.errors import BadRequest, UnknownName

FLOORS = ("random", "uniform", "grid", RESIZE)
ABLATIONS = (
    "vlm-pruner:pivots=1",  # without spread-out pivots: the selection starts from one token
    "vlm-pruner:distance_weight=0",  # without Buffering for Spatial Sparsity
    "vlm-pruner:aggregate=false",  # without Similarity-Weighted Aggregation
    "vlm-pruner:batch=1",
)
"""VLM-Pruner with one stage turned off, or with one setting at its other extreme."""


@dataclass(frozen=True)
class Variant:
    """A pruner with settings; tables show its `label`."""

    label: str
    pruner: str
    settings: Mapping[str, Any]


def parse_variants(texts: Iterable[str], defaults: Mapping[str, Any]) -> list[Variant]:
    """Returns the variants without repeats; `defaults` apply to every pruner that has such a setting."""
    variants = list({text: parse_variant(text) for text in texts}.values())
    for name in defaults:
        if not any(name in setting_names(variant.pruner) for variant in variants):
            raise BadRequest(f"none of the pruners has a setting {name!r}")
    return [
        replace(variant, settings={**applicable(variant.pruner, defaults), **variant.settings}) for variant in variants
    ]


def parse_variant(text: str) -> Variant:
    """Returns the variant with that label. Raises `UnknownName`.

    >>> parse_variant("vlm-pruner:batch=1").settings
    {'batch': 1}
    """
    name, *parts = text.split(":")
    if pruner_name(name) not in (*PRUNERS, RESIZE):
        raise UnknownName("pruner", name, (*PRUNERS, RESIZE))
    return Variant(text, name, dict(parse_setting(part) for part in parts))


def setting_names(pruner: str) -> list[str]:
    """Returns the names of a pruner's settings."""
    if pruner == RESIZE:
        return []
    return [field.name for field in fields(pruner_kind(pruner).settings)]


def applicable(pruner: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the defaults that this pruner has a setting for."""
    names = setting_names(pruner)
    return {name: value for name, value in defaults.items() if name in names}
