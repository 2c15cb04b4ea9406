"""SAINT inside the vision tower: the tokens that are most like all others are dropped, a few in every round."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.needs import PIXELS
from vlmprune_export.pruners.pruner import Pruned, Pruner
from vlmprune_export.pruners.saint.settings import SaintSettings
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import largest, stable_argsort
from vlmprune_runtime.errors import BadRequest


def drop_counts(tokens: int, keep: int, step: int) -> list[int]:
    """Returns how many tokens each round drops: the tokens that are left, divided by the round before's number.

    The released code overwrites its divisor `step` by the number of the round, and published results depend on it.
    Raises `BadRequest` for a divisor larger than the number of tokens, at which the released code divides by zero.

    >>> drop_counts(576, 375, 16), len(drop_counts(576, 64, 16))
    ([36, 15, 35, 14, 34, 13, 33, 12, 9], 27)
    """
    if not 1 <= step <= tokens:
        raise BadRequest(f"step is {step}; allowed: 1 to {tokens} (the tokens of the tower)")
    counts, left = [], tokens
    while left > keep:
        step = min(left - keep, left // step)
        counts.append(step)
        left -= step
    return counts


class SaintTower(Pruner):
    """Runs the vision tower, and drops tokens behind one of its layers, so that the later ones are cheaper.

    As in the released code this is the layer at 19 of 24; the CLS token stays and takes no part.
    """

    needs = (PIXELS,)

    def __init__(self, site: Site, settings: SaintSettings) -> None:
        """Builds the pruner for a site. Raises `BadRequest` for a tower that no token can be dropped in."""
        super().__init__()
        if site.parts.tower is None:
            raise BadRequest("saint has no tower here in which tokens can be dropped; allowed: place=layer")
        self.tower, self.keep, self.settings = site.parts.tower, min(site.keep, site.tokens), settings
        self.layer = self.tower.layer_behind(19 / 24)
        self.counts = drop_counts(site.tokens, self.keep, settings.tower_step)

    def forward(self, pixels: Tensor) -> Pruned:  # (1, 3, height, width) -> (K,), (K, D), (K,)
        """Returns the kept indices in ascending order, their visual embeddings, and their ranks, which are in order."""
        features, kept = self.tower(
            pixels, self.layer, lambda keys: distinct_tokens(keys, self.counts, self.control_flow)
        )  # fmt: skip
        return kept, features, torch.arange(self.keep)


def distinct_tokens(keys: Tensor, counts: list[int], control_flow: ControlFlow) -> Tensor:  # (N, dh) -> (K,)
    """Returns the tokens that are left, in image order, of tokens with these keys, as the mean over heads.

    A round drops the tokens with the largest sum of similarities to all that are still there, the lowest index first.
    """
    unit = unit_rows(keys, control_flow)
    similar, live = products(unit, unit), torch.ones(keys.shape[0])
    for count in counts:
        scores = products(live[None], similar)[0]
        dropped = largest(torch.where(live > 0, scores, -3e38), count, control_flow)
        live = live.index_fill(0, dropped, 0.0)
    places = torch.arange(keys.shape[0]) + torch.where(live > 0, 0, keys.shape[0])
    return stable_argsort(places, control_flow)[: keys.shape[0] - sum(counts)]
