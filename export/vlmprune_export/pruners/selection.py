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
from vlmprune_export.pruners.loops import LoopForm, State, repeat, value_or
from vlmprune_export.pruners.ordering import ascending, sort_ascending
from vlmprune_export.pruners.settings import VlmPrunerSettings

TAKEN = 1e9
"""Stands for the similarity and the score of a chosen token: above every threshold."""


Tables = tuple[Tensor, Tensor | None]
"""Unit vectors (1, N, q) alone, or similarities and squared distances of all pairs, both (N, N)."""


class Progress(NamedTuple):
    """What one step hands to the next; `near` and `spread` carry all that was chosen so far."""

    near: Tensor  # (N,) largest similarity to a chosen token, TAKEN once chosen
    spread: Tensor  # (N,) 1 + distance_weight * smallest distance to a chosen token
    ranking: Tensor  # (N,) tokens by score at the start of the round
    cursor: Tensor  # () first place in `ranking` that was not walked yet
    threshold: Tensor  # ()
    order: Tensor  # (K + 2B,) chosen tokens, in the order chosen; only the first K - room mean anything
    room: Tensor  # () how many are still to be chosen; not above 0 at the end


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
        tables = self.tables(unit.view(1, *unit.shape))
        step = partial(self.step, tables, pivots[:1])
        start = self.start(tables, pivots)
        last = repeat(step, self.unfinished, start, steps=steps, form=self.form)
        return Progress(*last).order[: self.keep]

    def tables(self, unit: Tensor) -> Tables:  # (1, N, q)
        """What `choose` looks up: the vectors, or the products of all, where a step is dear and a product is not."""
        if self.form != "scan" or not torch.compiler.is_exporting():
            return unit, None
        pairs = (self.grid.tokens, self.grid.tokens)
        return torch.bmm(unit, unit.mT).view(pairs), torch.bmm(self.grid.left, self.grid.right).view(pairs)

    def start(self, tables: Tables, pivots: Tensor) -> State:  # (P,)
        """The pivots chosen, and the first round open."""
        blank = torch.full((self.grid.tokens,), TAKEN)
        near, spread = self.choose(tables, -blank, blank, pivots)
        # The last batch may be taken beyond K, its highest scores last; a form that goes on may do so once more.
        rest = torch.zeros(self.keep + 2 * self.batch - pivots.shape[0], dtype=torch.int64)
        return Progress(
            near,
            spread,
            ranking=ascending(near * spread, self.form),
            cursor=torch.zeros((), dtype=torch.int64),
            threshold=torch.full((), self.settings.threshold),
            order=torch.cat([pivots, rest]),
            room=torch.full((), self.keep - pivots.shape[0], dtype=torch.int64),
        )

    def unfinished(self, state: State) -> Tensor:  # -> ()
        """Whether fewer than K tokens are chosen."""
        return Progress(*state).room > 0

    def step(self, tables: Tables, anchor: Tensor, state: State) -> State:  # (1,)
        """Take from the first batch that has a token to take; if there is none, open the next round.

        Without a token to take, the anchor, a pivot, is chosen once more, which changes nothing.
        """
        now = Progress(*state)
        scores = now.near * now.spread
        start, tokens, fits = self.first_batch(now, scores)
        near, spread = self.choose(tables, now.near, now.spread, torch.where(fits, tokens, anchor))
        taken = fits.sum()
        ranking, cursor, threshold = self.walk_on(now, scores, start + self.batch, taken > 0)
        order = now.order.scatter(0, self.lanes + self.keep - now.room, tokens)
        return Progress(near, spread, ranking, cursor, threshold, order, now.room - taken)

    def first_batch(self, now: Progress, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # (N,) -> (), (B,), (B,)
        """Where the first batch with a token to take starts, its tokens by score, and which are taken."""
        ranked = scores.gather(0, now.ranking)
        takeable = torch.logical_and(ranked < now.threshold, self.starts >= now.cursor)
        ranked = torch.where(takeable, ranked, TAKEN)
        start = torch.where(takeable, self.starts, self.starts[-1]).amin(0)
        places = start + self.lanes
        inside = places.clamp(max=self.grid.tokens - 1) if self.ragged else places
        batch = ranked.gather(0, inside)
        if self.ragged:
            batch = torch.where(places < self.grid.tokens, batch, TAKEN)
        batch, lanes = sort_ascending(batch, self.form)
        return start, now.ranking.gather(0, inside).gather(0, lanes), batch < TAKEN

    def walk_on(
        self, now: Progress, scores: Tensor, after: Tensor, found: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # (N,), (), () -> (N,), (), ()
        """Ranking, cursor and threshold after a batch, or of a new round if none was found."""
        rank = partial(ascending, form=self.form)
        ranking = value_or(found, now.ranking, rank, scores, self.form)
        raised = now.threshold + self.settings.threshold_step
        return ranking, torch.where(found, after, 0), torch.where(found, now.threshold, raised)

    def choose(
        self, tables: Tables, near: Tensor, spread: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:  # (N,), (N,), (B,) -> (N,), (N,)
        """`near` and `spread` once these tokens are chosen too."""
        similar, squares = self.look_up(tables, tokens)
        weight = self.settings.distance_weight / self.grid.diagonal
        near = torch.where(squares > 0, torch.maximum(near, similar), TAKEN)
        return near, torch.minimum(spread, 1 + squares.sqrt() * weight)

    def look_up(self, tables: Tables, tokens: Tensor) -> tuple[Tensor, Tensor]:  # (B,) -> (N,), (N,)
        """Each token's largest similarity and least squared distance to the given ones."""
        unit, squares = tables
        if squares is not None:
            return unit.index_select(0, tokens).amax(0), squares.index_select(0, tokens).amin(0)
        similar = torch.bmm(unit, unit.index_select(1, tokens).mT).amax((0, 2))
        return similar, self.grid.squared_distance(tokens)

    @property
    def ragged(self) -> bool:
        """Whether the last batch of a round is shorter than the others."""
        return self.grid.tokens % self.batch != 0


def rounds(settings: VlmPrunerSettings) -> int:
    """How many times the threshold can be raised before it passes every score.

    >>> rounds(VlmPrunerSettings())
    9
    """
    # Cosines of unit vectors may exceed 1 by rounding, and so may the sum of thresholds fall short.
    highest = 1.001 * (1 + settings.distance_weight)
    return max(0, math.ceil((highest - settings.threshold) / settings.threshold_step)) + 1
