"""SAINT in the decoder: every second token may be voted out by similar neighbours, round by round."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.needs import HIDDEN, KEYS
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.saint.settings import SaintSettings
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import largest, stable_argsort, stable_sort


def token_counts(tokens: int, keep: int, rounds: int) -> list[int]:
    """Returns the numbers of tokens before and after every round, in equal steps of ratio.

    A round can drop half of its tokens at most, so that very few kept tokens take more rounds.

    >>> token_counts(576, 64, 10)
    [576, 462, 371, 298, 239, 192, 154, 124, 99, 80, 64]
    >>> token_counts(49, 3, 2)
    [49, 24, 12, 6, 3]
    """
    counts = [tokens]
    while counts[-1] > keep:
        wanted = round(tokens * (keep / tokens) ** (min(len(counts), rounds) / rounds))
        counts.append(max(wanted, counts[-1] // 2, keep))
    return counts


class Saint(Pruner):
    """Drops tokens in all rounds at once, on the keys of the layer before the cut.

    The released code reads the keys of another layer in every round; with a single cut this is an approximation of it.
    """

    needs = (HIDDEN, KEYS)

    def __init__(self, site: Site, settings: SaintSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.kv_heads = site.parts.kv_heads
        self.counts = token_counts(site.tokens, min(site.keep, site.tokens), settings.rounds)

    def forward(self, hidden: Tensor, keys: Tensor) -> Pruned:  # (N, D), (N, Hkv * dh) -> (K,), (K, D), (K,)
        """Returns the kept indices in ascending order, their rows of `hidden`, and their ranks, which are in order."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        unit = unit_keys(keys, self.kv_heads, self.control_flow)
        live = torch.arange(self.tokens)
        for count in self.counts[1:]:
            live = self.survivors(unit, live, live.shape[0] - count)
        return live, hidden.index_select(0, live), torch.arange(self.keep)

    def survivors(self, unit: Tensor, live: Tensor, drop: int) -> Tensor:  # (N, dh), (n,) -> (n - drop,)
        """Returns what a round leaves of the live tokens, in image order.

        Every second token, from the first on, may be dropped, by the threshold at which `drop` tokens are voted out.
        """
        asked, others = live[0::2], live[1::2]
        similar = products(unit.index_select(0, asked), unit.index_select(0, others))
        scores = scores_of_vote(similar, self.threshold(similar, drop), self.settings.gamma)
        dropped = asked.index_select(0, largest(scores, drop, self.control_flow))
        gone = torch.zeros(unit.shape[0], dtype=torch.int64).index_fill(0, dropped, unit.shape[0])
        order = stable_argsort(live + gone.index_select(0, live), self.control_flow)
        return live.index_select(0, order[: live.shape[0] - drop])

    def threshold(self, similar: Tensor, drop: int) -> Tensor:  # (A, B) -> ()
        """Returns the similarity that the `neighbours`-th best neighbour of exactly `drop` tokens reaches."""
        best = torch.topk(similar, min(self.settings.neighbours, similar.shape[1]), dim=1).values[:, -1]
        falling = -stable_sort(-best, self.control_flow)[0]
        return falling[drop - 1] if drop == falling.shape[0] else (falling[drop - 1] + falling[drop]) / 2


def unit_keys(keys: Tensor, kv_heads: int, control_flow: ControlFlow) -> Tensor:  # (N, Hkv * dh) -> (N, dh)
    """Returns the keys as the mean over heads, at length one."""
    by_head = keys.float().view(keys.shape[0], kv_heads, -1)
    return unit_rows(by_head.clamp(-1e37, 1e37).mean(1), control_flow)


def scores_of_vote(similar: Tensor, threshold: Tensor, gamma: float) -> Tensor:  # (A, B), () -> (A,)
    """Returns how strongly each token is voted out; one without a neighbour has its mean similarity."""
    hit = (similar >= threshold).float()
    count = hit.sum(1)
    mean = (similar * hit).sum(1) / count.clamp(min=1.0)
    return torch.where(count > 0, count * torch.exp(gamma * (mean - threshold)), similar.mean(1))
