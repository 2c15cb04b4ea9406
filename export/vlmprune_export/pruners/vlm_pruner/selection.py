"""Stage 2 selects tokens greedily under Buffering for Spatial Sparsity (paper section 3.3), with fixed shapes.

A round sorts the free tokens by score once and walks through them in batches. It selects every token whose score
lies below the threshold by then. A batch without such a token changes nothing, so a step jumps to the first batch
that holds a token to select; if there is no such batch, the step opens the next round with a higher threshold.
Every step selects a token or opens a round, which bounds the number of steps. Equal scores keep the order that they
had, which starts with the lowest index.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlmprune_export.pruners.grid import Grid
from vlmprune_export.pruners.lookup import Tables, look_up, look_up_first, look_up_tables
from vlmprune_export.pruners.loops import ControlFlow, State, repeat, value_or
from vlmprune_export.pruners.stable_sort import stable_argsort, stable_sort
from vlmprune_export.pruners.vlm_pruner.settings import VlmPrunerSettings

SELECTED = 1e9
"""The similarity and the score of a selected token, above every threshold."""


class SelectionState(NamedTuple):
    """The state that a step hands to the next; the first two fields hold all that is known of the selected tokens."""

    max_similarity: Tensor  # (N,) largest similarity to a selected token; SELECTED for a selected token
    distance_penalty: Tensor  # (N,) 1 + distance_weight * smallest distance to a selected token
    ranking: Tensor  # (N,) tokens by score at the start of the round
    cursor: Tensor  # () first place in `ranking` that the round has not reached
    threshold: Tensor  # ()
    selected: Tensor  # (K + 2B,) selected tokens by rank; the rest after K - remaining is padding
    remaining: Tensor  # () how many tokens are still to be selected; 0 or less at the end


class Selection(nn.Module):
    """Selects K tokens, starting from the pivots."""

    starts: Tensor
    lanes: Tensor

    def __init__(self, grid: Grid, keep: int, settings: VlmPrunerSettings, control_flow: ControlFlow) -> None:
        """Builds the selection on that grid; `control_flow` is how its step while exporting."""
        super().__init__()
        self.grid, self.keep, self.settings, self.control_flow = grid, keep, settings, control_flow
        self.batch = min(settings.batch, grid.tokens)
        # Where the batches of a ranking start, and the places within a batch.
        self.register_buffer("starts", torch.arange(0, grid.tokens, self.batch), persistent=False)
        self.register_buffer("lanes", torch.arange(self.batch), persistent=False)

    def forward(
        self, unit: Tensor, pivots: Tensor, pairs: Tensor | None = None
    ) -> Tensor:  # (N, q), (P,), (N, N) -> (K,)
        """Returns the selected tokens by rank; `pairs` holds the similarities of all pairs if they were computed."""
        steps = self.keep - pivots.shape[0] + rounds(self.settings)
        tables = look_up_tables(self.grid, unit, pairs)
        step = partial(self.step, tables, pivots[:1])
        start = self.start(tables, pivots)
        last = repeat(step, start, steps=steps, control_flow=self.control_flow, unfinished=self.unfinished)
        return SelectionState(*last).selected[: self.keep]

    def start(self, tables: Tables, pivots: Tensor) -> State:  # (P,)
        """Returns the state in which the pivots are selected and the first round is open."""
        blank = torch.full((self.grid.tokens,), SELECTED)
        similarity, penalty = self.select(look_up(self.grid, tables, pivots), -blank, blank, pivots)
        # The last batch may run beyond K, its highest scores last; a scan that goes on may do so once more.
        rest = torch.zeros(self.keep + 2 * self.batch - pivots.shape[0], dtype=torch.int64)
        return SelectionState(
            similarity,
            penalty,
            ranking=stable_argsort(similarity * penalty, self.control_flow),
            cursor=torch.zeros((), dtype=torch.int64),
            threshold=torch.full((), self.settings.threshold),
            selected=torch.cat([pivots, rest]),
            remaining=torch.full((), self.keep - pivots.shape[0], dtype=torch.int64),
        )

    def unfinished(self, state: State) -> Tensor:  # -> ()
        """Returns whether fewer than K tokens are selected."""
        return SelectionState(*state).remaining > 0

    def step(self, tables: Tables, anchor: Tensor, state: State) -> State:  # (1,)
        """Selects tokens of the first batch that has any below the threshold, or opens the next round if none has.

        Lanes without a token select the anchor, a pivot, once more, which changes nothing.
        """
        now = SelectionState(*state)
        scores = now.max_similarity * now.distance_penalty
        start, tokens, fits = self.first_batch(now, scores)
        count, chosen = fits.sum(), torch.where(fits, tokens, anchor)
        looked_up = look_up_first(self.grid, tables, chosen, count)
        similarity, penalty = self.select(looked_up, now.max_similarity, now.distance_penalty, chosen)
        ranking, cursor, threshold = self.advance(now, scores, start + self.batch, count > 0)
        selected = now.selected.scatter(0, self.lanes + self.keep - now.remaining, tokens)
        return SelectionState(similarity, penalty, ranking, cursor, threshold, selected, now.remaining - count)

    def first_batch(
        self, now: SelectionState, scores: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # (N,) -> (), (B,), (B,)
        """Returns where the first batch with a token to select starts, its tokens by score, and which are selected."""
        ranked = scores.gather(0, now.ranking)
        lowest = self.whole_batches(ranked).view(-1, self.batch).amin(1)
        eligible = torch.logical_and(lowest < now.threshold, self.starts >= now.cursor)
        start = torch.where(eligible, self.starts, self.starts[-1]).amin(0)
        places = start + self.lanes
        inside = places.clamp(max=self.grid.tokens - 1) if self.ragged else places
        batch = ranked.gather(0, inside)
        eligible = torch.logical_and(batch < now.threshold, start >= now.cursor)
        if self.ragged:
            eligible = torch.logical_and(eligible, places < self.grid.tokens)
        batch, lanes = stable_sort(torch.where(eligible, batch, SELECTED), self.control_flow)
        return start, now.ranking.gather(0, inside).gather(0, lanes), batch < SELECTED

    def whole_batches(self, ranked: Tensor) -> Tensor:  # (N,) -> (batches * B,)
        """Returns the scores with the last batch padded to its full length."""
        missing = self.starts.shape[0] * self.batch - self.grid.tokens
        return torch.cat([ranked, torch.full((missing,), SELECTED)]) if missing else ranked

    def advance(
        self, now: SelectionState, scores: Tensor, after: Tensor, any_selected: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # (N,), (), () -> (N,), (), ()
        """Returns ranking, cursor and threshold after a batch, or those of a new round if no token was selected."""
        rank = partial(stable_argsort, control_flow=self.control_flow)
        ranking = value_or(any_selected, now.ranking, rank, scores, self.control_flow)
        raised = now.threshold + self.settings.threshold_step
        return ranking, torch.where(any_selected, after, 0), torch.where(any_selected, now.threshold, raised)

    def select(
        self, looked_up: tuple[Tensor, Tensor], max_similarity: Tensor, distance_penalty: Tensor, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:  # (N,) twice, (N,), (N,), (B,) -> (N,), (N,)
        """Returns `max_similarity` and `distance_penalty` once these tokens are selected too."""
        similar, squares = looked_up
        similarity = torch.maximum(max_similarity, similar).scatter(0, tokens, torch.full(tokens.shape, SELECTED))
        penalty = 1 + squares.sqrt() * (self.settings.distance_weight / self.grid.diagonal)
        return similarity, torch.minimum(distance_penalty, penalty)

    @property
    def ragged(self) -> bool:
        """Returns whether the last batch of a round is shorter than the others."""
        return self.grid.tokens % self.batch != 0


def rounds(settings: VlmPrunerSettings) -> int:
    """Returns how many times the threshold can be raised before it passes every score.

    >>> rounds(VlmPrunerSettings())
    9
    """
    # Rounding can lift the cosine of unit vectors above 1 and can let the sum of thresholds fall short.
    highest = 1.001 * (1 + settings.distance_weight)
    return max(0, math.ceil((highest - settings.threshold) / settings.threshold_step)) + 1
