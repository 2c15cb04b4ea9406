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
from vlmprune_export.pruners.lookup import Tables, look_up, look_up_first, look_up_tables
from vlmprune_export.pruners.loops import LoopForm, State, repeat, value_or
from vlmprune_export.pruners.ordering import ascending, sort_ascending
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
    order: Tensor  # (K + 2B,) chosen tokens, in the order chosen; only the first K - room mean anything
    room: Tensor  # () how many are still to be chosen; not above 0 at the end


class Selection(nn.Module):
    """Chooses K tokens, starting from the pivots."""

    starts: Tensor
    lanes: Tensor

    def __init__(self, grid: Grid, keep: int, settings: VlmPrunerSettings, form: LoopForm) -> None:
        """A selection on that grid; `form` says how its step is repeated while exporting."""
        super().__init__()
        self.grid, self.keep, self.settings, self.form = grid, keep, settings, form
        self.batch = min(settings.batch, grid.tokens)
        # Where the batches of a ranking start, and the places within a batch.
        self.register_buffer("starts", torch.arange(0, grid.tokens, self.batch), persistent=False)
        self.register_buffer("lanes", torch.arange(self.batch), persistent=False)

    def forward(
        self, unit: Tensor, pivots: Tensor, pairs: Tensor | None = None
    ) -> Tensor:  # (N, q), (P,), (N, N) -> (K,)
        """The chosen tokens in the order chosen; `pairs` are the similarities of all, if they were computed."""
        steps = self.keep - pivots.shape[0] + rounds(self.settings)
        tables = look_up_tables(self.grid, unit, pairs)
        step = partial(self.step, tables, pivots[:1])
        start = self.start(tables, pivots)
        last = repeat(step, start, steps=steps, form=self.form, unfinished=self.unfinished)
        return Progress(*last).order[: self.keep]

    def start(self, tables: Tables, pivots: Tensor) -> State:  # (P,)
        """The pivots chosen, and the first round open."""
        blank = torch.full((self.grid.tokens,), TAKEN)
        near, spread = self.choose(look_up(self.grid, tables, pivots), -blank, blank, pivots)
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
        taken, chosen = fits.sum(), torch.where(fits, tokens, anchor)
        looked_up = look_up_first(self.grid, tables, chosen, taken)
        near, spread = self.choose(looked_up, now.near, now.spread, chosen)
        ranking, cursor, threshold = self.walk_on(now, scores, start + self.batch, taken > 0)
        order = now.order.scatter(0, self.lanes + self.keep - now.room, tokens)
        return Progress(near, spread, ranking, cursor, threshold, order, now.room - taken)

    def first_batch(self, now: Progress, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # (N,) -> (), (B,), (B,)
        """Where the first batch with a token to take starts, its tokens by score, and which are taken."""
        ranked = scores.gather(0, now.ranking)
        lowest = self.whole_batches(ranked).view(-1, self.batch).amin(1)
        takeable = torch.logical_and(lowest < now.threshold, self.starts >= now.cursor)
        start = torch.where(takeable, self.starts, self.starts[-1]).amin(0)
        places = start + self.lanes
        inside = places.clamp(max=self.grid.tokens - 1) if self.ragged else places
        batch = ranked.gather(0, inside)
        takeable = torch.logical_and(batch < now.threshold, start >= now.cursor)
        if self.ragged:
            takeable = torch.logical_and(takeable, places < self.grid.tokens)
        batch, lanes = sort_ascending(torch.where(takeable, batch, TAKEN), self.form)
        return start, now.ranking.gather(0, inside).gather(0, lanes), batch < TAKEN

    def whole_batches(self, ranked: Tensor) -> Tensor:  # (N,) -> (batches * B,)
        """With the last batch filled up."""
        missing = self.starts.shape[0] * self.batch - self.grid.tokens
        return torch.cat([ranked, torch.full((missing,), TAKEN)]) if missing else ranked

    def walk_on(
        self, now: Progress, scores: Tensor, after: Tensor, found: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # (N,), (), () -> (N,), (), ()
        """Ranking, cursor and threshold after a batch, or of a new round if none was found."""
        rank = partial(ascending, form=self.form)
        ranking = value_or(found, now.ranking, rank, scores, self.form)
        raised = now.threshold + self.settings.threshold_step
        return ranking, torch.where(found, after, 0), torch.where(found, now.threshold, raised)

    def choose(
        self, looked_up: tuple[Tensor, Tensor], near: Tensor, spread: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:  # (N,) twice, (N,), (N,), (B,) -> (N,), (N,)
        """`near` and `spread` once these tokens are chosen too."""
        similar, squares = looked_up
        near = torch.maximum(near, similar).scatter(0, tokens, torch.full(tokens.shape, TAKEN))
        return near, torch.minimum(spread, 1 + squares.sqrt() * (self.settings.distance_weight / self.grid.diagonal))

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
