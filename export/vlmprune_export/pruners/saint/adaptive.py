"""SAINT with its own number of tokens: a round drops as many as its vote says, and K is an upper bound."""

import torch
from torch import Tensor

from vlmprune_export.pruners.needs import HIDDEN, KEYS
from vlmprune_export.pruners.pruner import COUNTED, Pruned, Pruner
from vlmprune_export.pruners.saint.decoder import scores_of_vote, token_counts, unit_keys
from vlmprune_export.pruners.saint.settings import SaintSettings
from vlmprune_export.pruners.similarity import products
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import largest, stable_argsort

ABSENT = 4.0
"""What is taken from a similarity to padding, which then lies below that of any token."""


class SaintAdaptive(Pruner):
    """Drops in each round whom the vote at the released threshold drops, and more where too many would be left.

    Graphs have fixed sizes: the live tokens stand in image order at the beginning of a list of as many places as the
    method for a fixed number would have left by then, with padding behind them.
    """

    needs = (HIDDEN, KEYS)
    outputs = COUNTED

    def __init__(self, site: Site, settings: SaintSettings) -> None:
        """Builds the pruner for a site where not all tokens stay."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.kv_heads = site.parts.kv_heads
        self.counts = token_counts(site.tokens, site.keep, settings.rounds)

    def forward(self, hidden: Tensor, keys: Tensor) -> Pruned:  # (N, D), (N, Hkv * dh) -> (K,), (K, D), (K,), (1,)
        """Returns the kept indices in ascending order, their rows of `hidden`, their ranks, and how many they are."""
        unit = unit_keys(keys, self.kv_heads, self.control_flow)
        live, there = torch.arange(self.tokens), torch.ones(self.tokens)
        for most in self.counts[1:]:
            live, there = self.survivors(unit, (live, there), most, self.settings.threshold)
        meant = there > 0
        rank = torch.where(meant, torch.arange(self.keep), -1)
        return torch.where(meant, live, -1), hidden.index_select(0, live), rank, meant.sum(0, keepdim=True)

    def survivors(  # (N, dh), ((m,), (m,)) -> (most,), (most,)
        self, unit: Tensor, before: tuple[Tensor, Tensor], most: int, threshold: float
    ) -> tuple[Tensor, Tensor]:
        """Returns what a round leaves of a list: tokens, and 1 for those that are no padding, which are at most `most`.

        The threshold is lower than the one given where its vote would leave too many.
        """
        (live, there), places = before, torch.arange(before[0].shape[0])
        asked, others = there[0::2], there[1::2]
        similar = products(unit.index_select(0, live[0::2]), unit.index_select(0, live[1::2]))
        similar = similar - ABSENT * (1 - others)
        too_many = there.sum(0) - most
        votes, lowered = self.votes(similar, (asked, others), too_many, threshold)
        scores = scores_of_vote(similar, torch.where(votes >= too_many, threshold, lowered), self.settings.gamma)
        ranked = largest(torch.where(asked > 0, scores, -3e38), asked.shape[0], self.control_flow)
        stays = (places[: asked.shape[0]] >= torch.maximum(votes, too_many)).float()
        there = there.scatter(0, places[0::2], asked * torch.zeros_like(asked).scatter(0, ranked, stays))
        order = stable_argsort(places + torch.where(there > 0, 0, places.shape[0]), self.control_flow)[:most]
        return live.index_select(0, order), there.index_select(0, order)

    def votes(  # (A, B), ((A,), (B,)), () -> (), ()
        self, similar: Tensor, there: tuple[Tensor, Tensor], drop: Tensor, threshold: float
    ) -> tuple[Tensor, Tensor]:
        """Returns how many tokens the vote drops, and the threshold at which it would drop `drop` of them."""
        (asked, others), wanted = there, self.settings.neighbours
        best = torch.topk(similar, min(wanted, similar.shape[1]), dim=1).values
        votes = ((best[:, -1] >= threshold).float() * asked).sum(0) * float(best.shape[1] == wanted)
        column = (others.sum(0).clamp(1, best.shape[1]) - 1).to(torch.int64).view(1)
        reached = torch.where(asked > 0, best.index_select(1, column)[:, 0], -ABSENT)
        falling = reached.index_select(0, largest(reached, reached.shape[0], self.control_flow))
        last = (asked.sum(0) - 1).clamp(min=0)
        around = torch.stack([(drop - 1).clamp(min=0), torch.minimum(drop.clamp(min=0), last)])
        return votes, falling.index_select(0, around.to(torch.int64)).mean(0)
