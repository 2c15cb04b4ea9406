"""Inputs of any pruner, by what it declares that it needs: a sequence of two system tokens, an image and a text."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vlmprune_export.pruners import Need, Pruner, PrunerKind
from vlmprune_export.pruners.needs import CutPlace

SYSTEM_TOKENS, TEXT_TOKENS, WIDTH = 2, 5, 8


def cuts_of(kinds: Mapping[str, PrunerKind]) -> list[tuple[str, CutPlace]]:
    """Every cut of every method with its default settings: the method and where the cut stands."""
    return [(method, place.at) for method, kind in kinds.items() for place in kind.places(kind.settings(), 2)]


def inputs_of(pruner: Pruner, hidden: Tensor, seed: int = 0) -> list[Tensor]:  # (N, D)
    """Returns the inputs of a pruner of one attention head; all but `hidden` are random, and finite."""
    noise = torch.Generator().manual_seed(seed)
    return [hidden if need.name == "hidden" else _input(need, hidden, noise) for need in pruner.needs]


def places_of(of: str, tokens: int) -> Tensor:
    """Where the rows of a part of the sequence stand."""
    behind = SYSTEM_TOKENS + tokens + torch.arange(TEXT_TOKENS)
    parts = {
        "visual": SYSTEM_TOKENS + torch.arange(tokens),
        "text": torch.cat([torch.arange(SYSTEM_TOKENS), behind]),
        "last": behind[-1:],
        "all": torch.arange(SYSTEM_TOKENS + tokens + TEXT_TOKENS),
    }
    return parts[of]


def _input(need: Need, hidden: Tensor, noise: torch.Generator) -> Tensor:
    places = places_of(need.tokens, hidden.shape[0])
    if need.tensor == "places":
        return places
    if need.tensor in ("tower_attention", "tower_last_attention"):
        return torch.rand(len(places), generator=noise)
    width = hidden.shape[1] if need.tensor in ("hidden", "embeddings", "tower_hidden") else WIDTH
    return torch.randn(len(places), width, generator=noise)
