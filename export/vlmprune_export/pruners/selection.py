"""Stage 2: greedy selection under Buffering for Spatial Sparsity (paper section 3.3), in a fixed size.

A round orders the free tokens by score once and walks them in batches, taking whatever scores below the
threshold by now. Batches in which nothing is taken change nothing, so one step jumps to the first batch that
holds a token to take; when there is none, it opens the next round with a higher threshold. Every step takes a
token or opens a round, which bounds their number. Equal scores keep the order they had, which starts with the
lowest index.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlmprune_export.pruners.grid import Grid
from vlmprune_export.pruners.loops import LoopForm, State, branch, repeat
from vlmprune_export.pruners.ordering import ascending
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


class Selection(nn.Module):
    """Chooses K tokens, starting from the pivots."""

    lanes: Tensor
    starts: Tensor

    def __init__(self, grid: Grid, keep: int, settings: VlmPrunerSettings, form: LoopForm) -> None:
        """A selection on that grid; `form` says how its step is repeated while exporting."""
        super().__init__()
        self.grid, self.keep, self.settings, self.form = grid, keep, settings, form
        self.batch = min(settings.batch, grid.tokens)
        places = torch.arange(grid.tokens)
        # For each place in a ranking, where its batch starts; and the places within a batch.
        self.register_buffer("starts", places // self.batch * self.batch, persistent=False)
        self.register_buffer("lanes", torch.arange(self.batch), persistent=False)

    def forward(self, unit: Tensor, pivots: Tensor) -> Tensor:  # (N, q), (P,) -> (K,)
        """The chosen tokens in the order chosen."""
        steps = self.keep - pivots.shape[0] + rounds(self.settings)
        start = self.start(unit, pivots)
        last = repeat(partial(self.step, unit), self.unfinished, start, steps=steps, form=self.form)
        return Progress(*last).order[: self.keep]

    def start(self, unit: Tensor, pivots: Tensor) -> State:  # (N, q), (P,)
        """The pivots chosen, and the first round open."""
        blank = torch.full((self.grid.tokens,), TAKEN)
        near, spread = self.choose(unit, -blank, blank, pivots)
        rest = torch.zeros(self.keep + self.batch - pivots.shape[0], dtype=torch.int64)
        return Progress(
            near,
            spread,
            ranking=ascending(near * spread, self.form),
            cursor=torch.zeros((), dtype=torch.int64),
            threshold=torch.full((), self.settings.threshold),
            order=torch.cat([pivots, rest]),
            count=torch.full((), pivots.shape[0], dtype=torch.int64),
        )

    def unfinished(self, state: State) -> Tensor:  # -> ()
        """Whether fewer than K tokens are chosen."""
        return Progress(*state).count < self.keep

    def step(self, unit: Tensor, state: State) -> State:
        """Take from the first batch that has a token to take, or open the next round."""
        now = Progress(*state)
        scores = (now.near * now.spread).index_select(0, now.ranking)
        takeable = torch.logical_and(scores < now.threshold, self.starts >= now.cursor)
        start = torch.where(takeable, self.starts, self.grid.tokens).amin(0)
        found = start < self.grid.tokens
        take = partial(self.take, unit)
        return branch(found, take, self.open_round, (*now, scores, start), form=self.form)

    def take(self, unit: Tensor, *operands: Tensor) -> State:
        """Choose what scores below the threshold in the batch at `start`, the lowest first."""
        now, (scores, start) = Progress(*operands[:-2]), operands[-2:]
        tokens, fits = self.acceptable(now, scores, start)
        near, spread = self.choose(unit, now.near, now.spread, tokens)
        return (
            near,
            spread,
            now.ranking.clone(),
            start + self.batch,
            now.threshold.clone(),
            now.order.scatter(0, now.count + self.lanes, tokens),
            now.count + fits.sum(),
        )

    def open_round(self, *operands: Tensor) -> State:
        """Raise the threshold and order the free tokens anew."""
        now = Progress(*operands[:-2])
        return (
            now.near.clone(),
            now.spread.clone(),
            ascending(now.near * now.spread, self.form),
            torch.zeros_like(now.cursor),
            now.threshold + self.settings.threshold_step,
            now.order.clone(),
            now.count.clone(),
        )

    def acceptable(
        self, now: Progress, scores: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:  # (N,), () -> (B,), (B,)
        """Tokens of the batch by score, and which of them are taken; the others repeat the first."""
        places = start + self.lanes
        inside = places.clamp(max=self.grid.tokens - 1)
        batch_scores = scores.index_select(0, inside)
        if self.grid.tokens % self.batch:
            batch_scores = torch.where(places < self.grid.tokens, batch_scores, TAKEN)
        lanes = ascending(batch_scores, self.form)
        below = batch_scores.index_select(0, lanes) < now.threshold
        fits = torch.logical_and(below, self.lanes < self.keep - now.count)
        tokens = now.ranking.index_select(0, inside).index_select(0, lanes)
        return torch.where(fits, tokens, tokens[:1]), fits

    def choose(
        self, unit: Tensor, near: Tensor, spread: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:  # (N, q), (N,), (N,), (B,) -> (N,), (N,)
        """`near` and `spread` once these tokens are chosen too."""
        rows = unit.index_select(0, tokens)
        similar = torch.bmm(unit[None], rows.mT[None])[0].amax(1)
        squares = self.grid.squared_distance(tokens)
        weight = self.settings.distance_weight / self.grid.diagonal
        near = torch.where(squares > 0, torch.maximum(near, similar), TAKEN)
        return near, torch.minimum(spread, 1 + squares.sqrt() * weight)


def rounds(settings: VlmPrunerSettings) -> int:
    """How many times the threshold can be raised before it passes every score.

    >>> rounds(VlmPrunerSettings())
    9
    """
    # Cosines of unit vectors may exceed 1 by rounding, and so may the sum of thresholds fall short.
    highest = 1.001 * (1 + settings.distance_weight)
    return max(0, math.ceil((highest - settings.threshold) / settings.threshold_step)) + 1
