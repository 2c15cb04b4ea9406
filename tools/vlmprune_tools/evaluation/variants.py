"""Pruners as they are asked for: a name, perhaps with settings, as in `vlm-pruner:batch=1:aggregate=false`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from vlmprune_export.pruners import PRUNERS
from vlmprune_runtime.errors import BadRequest, UnknownName

FLOORS = ("random", "grid")
ABLATIONS = (
    "vlm-pruner:pivots=1",  # without spread-out pivots: one token to start from, fewer is no start
    "vlm-pruner:distance_weight=0",  # without Buffering for Spatial Sparsity
    "vlm-pruner:aggregate=false",  # without Similarity-Weighted Aggregation
    "vlm-pruner:batch=1",
)
"""One stage of VLM-Pruner off, or one setting at its other end; the layer is a matter of the model's cut."""


@dataclass(frozen=True)
class Variant:
    """A pruner with settings; `label` is what tables call it."""

    label: str
    pruner: str
    settings: Mapping[str, Any]


def variants_of(texts: Iterable[str], wishes: Mapping[str, Any]) -> list[Variant]:
    """The variants without repeats; a wish holds for every pruner that has that setting, unless it says otherwise."""
    found = list({text: variant(text) for text in texts}.values())
    for name in wishes:
        if not any(name in settings_of(one.pruner) for one in found):
            raise BadRequest(f"none of the pruners has a setting {name!r}")
    return [replace(one, settings={**wished(one.pruner, wishes), **one.settings}) for one in found]


def variant(text: str) -> Variant:
    """One variant from its label.

    >>> variant("vlm-pruner:batch=1").settings
    {'batch': 1}
    """
    name, *parts = text.split(":")
    if name not in PRUNERS:
        raise UnknownName("pruner", name, PRUNERS)
    return Variant(text, name, dict(setting(part) for part in parts))


def setting(text: str) -> tuple[str, Any]:
    """A setting's name and its value read as JSON.

    >>> setting("batch=1")
    ('batch', 1)
    """
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise BadRequest(f"setting {text!r}: allowed: NAME=VALUE with a number, true or false") from None


def settings_of(pruner: str) -> list[str]:
    """Names of a pruner's settings."""
    return [field.name for field in fields(PRUNERS[pruner].settings)]


def wished(pruner: str, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The wishes that this pruner has a setting for."""
    allowed = settings_of(pruner)
    return {name: value for name, value in wishes.items() if name in allowed}
