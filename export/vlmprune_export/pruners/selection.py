"""Stage 2: greedy selection under Buffering for Spatial Sparsity (paper section 3.3), in a fixed size.

A round orders the free tokens by score once and walks them in batches, taking whatever scores below the
threshold by now. Batches in which nothing is taken change nothing, so one step jumps to the first batch that
holds a token to take; when there is none, it opens the next round with a higher threshold. Every step takes a
token or opens a round, which bounds their number. Equal scores keep the order they had, which starts with the
lowest index.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vlmprune_export.pruners.grid import Grid
from vlmprune_export.pruners.loops import LoopForm, State, branch, repeat
from vlmprune_export.pruners.settings import VlmPrunerSettings

TAKEN = 1e9
"""Stands for the similarity and the score of a chosen token: above every threshold."""


class Progress(NamedTuple):
    """What one step hands to the next; `near` and `spread` carry all that was chosen so far."""

    near: Tensor  # (N,) largest similarity to a chosen token, TAKEN once chosen
    spread: Tensor  # (N,) 1 + distance_weight * smallest distance to a chosen token
    ranking: Tensor  # (N,) tokens by score at the start of the round
    cursor: Tensor  # () first place in `ranking` that was not walked yet
    threshold: Tensor  # ()
    order: Tensor  # (K + B,) chosen tokens, in the order chosen; what follows the first `count` means nothing
    count: Tensor  # () how many are chosen


@dataclass(frozen=True)
class Selection:
    """One greedy selection; call `run`."""

    unit: Tensor  # (N, q) unit vectors
    grid: Grid
    keep: int
    settings: VlmPrunerSettings
    form: LoopForm

    def run(self, pivots: Tensor) -> tuple[Tensor, Tensor]:  # (P,) -> (K,), (N,)
        """The K chosen tokens in the order chosen, and for every token whether it was left."""
        steps = self.keep - pivots.shape[0] + rounds(self.settings)
        last = Progress(*repeat(self.step, self.unfinished, self.start(pivots), steps=steps, form=self.form))
        return last.order[: self.keep], last.near < TAKEN

    @property
    def batch(self) -> int:
        """Tokens in one batch."""
        return min(self.settings.batch, self.tokens)

    @property
    def tokens(self) -> int:
        """N."""
        return self.unit.shape[0]

    def start(self, pivots: Tensor) -> Progress:  # (P,)
        """The pivots chosen, and the first round open."""
        near = torch.full((self.tokens,), -TAKEN)
        spread = torch.full((self.tokens,), TAKEN)
        near, spread = self.choose(near, spread, pivots)
        rest = torch.zeros(self.keep + self.batch - pivots.shape[0], dtype=torch.int64)
        return Progress(
            near,
            spread,
            ranking=ranked(near * spread),
            cursor=torch.zeros((), dtype=torch.int64),
            threshold=torch.full((), self.settings.threshold),
            order=torch.cat([pivots, rest]),
            count=torch.full((), pivots.shape[0], dtype=torch.int64),
        )

    def unfinished(self, state: State) -> Tensor:  # -> ()
        """Whether fewer than K tokens are chosen."""
        return Progress(*state).count < self.keep

    def step(self, state: State) -> State:
        """Take from the first batch that has a token to take, or open the next round."""
        now = Progress(*state)
        scores = (now.near * now.spread).index_select(0, now.ranking)
        starts = self.starts()
        open_now = torch.logical_and(scores < now.threshold, starts >= now.cursor)
        start = torch.where(open_now, starts, torch.full_like(starts, self.tokens)).amin(0)
        found = start < self.tokens
        return branch(found, self.take, self.open_round, (*now, scores, start), form=self.form)

    def take(self, *operands: Tensor) -> State:
        """Choose what scores below the threshold in the batch at `start`, the lowest first."""
        now, (scores, start) = Progress(*operands[:-2]), operands[-2:]
        tokens, fits = self.acceptable(now, scores, start)
        near, spread = self.choose(now.near, now.spread, tokens)
        lanes = torch.arange(self.batch)
        return Progress(
            near,
            spread,
            now.ranking.clone(),
            start + self.batch,
            now.threshold.clone(),
            now.order.scatter(0, now.count + lanes, tokens),
            now.count + fits.sum(),
        )

    def open_round(self, *operands: Tensor) -> State:
        """Raise the threshold and order the free tokens anew."""
        now = Progress(*operands[:-2])
        return Progress(
            now.near.clone(),
            now.spread.clone(),
            ranked(now.near * now.spread),
            torch.zeros_like(now.cursor),
            now.threshold + self.settings.threshold_step,
            now.order.clone(),
            now.count.clone(),
        )

    def acceptable(
        self, now: Progress, scores: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:  # (N,), () -> (B,), (B,)
        """Tokens of the batch by score, and which of them are taken; the others repeat the first."""
        lanes = torch.arange(self.batch)
        places = start + lanes
        batch_scores = scores.index_select(0, places.clamp(max=self.tokens - 1))
        if self.tokens % self.batch:
            batch_scores = torch.where(
                places < self.tokens, batch_scores, torch.full_like(batch_scores, TAKEN)
            )
        by_score, lane = torch.sort(batch_scores, stable=True)
        fits = torch.logical_and(by_score < now.threshold, lanes < self.keep - now.count)
        tokens = now.ranking.index_select(0, places.clamp(max=self.tokens - 1)).index_select(0, lane)
        return torch.where(fits, tokens, tokens[:1]), fits

    def choose(self, near: Tensor, spread: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`near` and `spread` once these tokens are chosen too."""  # (N,), (N,), (B,) -> (N,), (N,)
        rows = self.unit.index_select(0, tokens)
        similar = torch.bmm(self.unit[None], rows.mT[None])[0].amax(1)
        squares = self.grid.squared_distance(tokens)
        weight = self.settings.distance_weight / self.grid.diagonal
        away = 1 + squares.sqrt() * weight
        near = torch.where(squares > 0, torch.maximum(near, similar), torch.full_like(near, TAKEN))
        return near, torch.minimum(spread, away)

    def starts(self) -> Tensor:  # -> (N,)
        """For each place in a ranking, where its batch starts."""
        return torch.tensor([place // self.batch * self.batch for place in range(self.tokens)])


def ranked(scores: Tensor) -> Tensor:  # (N,) -> (N,)
    """Tokens by score, lowest first."""
    return torch.sort(scores, stable=True).indices


def rounds(settings: VlmPrunerSettings) -> int:
    """How many times the threshold can be raised before it passes every score.

    >>> rounds(VlmPrunerSettings())
    9
    """
    # Cosines of unit vectors may exceed 1 by rounding, and so does the sum of thresholds.
    highest = 1.001 * (1 + settings.distance_weight)
    return max(0, math.ceil((highest - settings.threshold) / settings.threshold_step)) + 1
