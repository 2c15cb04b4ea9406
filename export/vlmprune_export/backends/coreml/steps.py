"""The steps of `vlmprune_export.pruners.selection` in MIL, Core ML's intermediate language.

Ranks, places and tokens are int32 throughout; sorting is counting how many values come before each, so that equal
values keep their order whatever the device.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813 - the name its users know

from vlmprune_export.pruners import VlmPrunerSettings
from vlmprune_export.pruners.grid import Grid
from vlmprune_export.pruners.selection import TAKEN

Var = Any  # coremltools' Var; the package has no types


class Progress(NamedTuple):
    """What one step hands to the next; see the class of this name in `pruners.selection`."""

    near: Var  # (N,)
    spread: Var  # (N,)
    ranking: Var  # (N,) int32
    cursor: Var  # (1,) int32
    threshold: Var  # (1,)
    order: Var  # (K + 2B,) int32
    room: Var  # (1,) int32


@dataclass(frozen=True)
class Selecting:
    """One selection being written: what every step reads."""

    unit: Var  # (N, q)
    pivots: Var  # (P,) int32
    grid: tuple[int, int]
    keep: int
    settings: VlmPrunerSettings

    @cached_property
    def cells(self) -> Grid:
        """The grid with its distance tables."""
        return Grid(*self.grid)

    @property
    def tokens(self) -> int:
        """N."""
        return self.cells.tokens

    @cached_property
    def starts(self) -> "np.ndarray[Any, np.dtype[np.int32]]":
        """For each place in a ranking, where its batch starts."""
        places = np.arange(self.tokens, dtype=np.int32)
        return places // self.settings.batch * self.settings.batch

    @property
    def lanes(self) -> "np.ndarray[Any, np.dtype[np.int32]]":
        """Places within a batch."""
        return np.arange(self.settings.batch, dtype=np.int32)

    def start(self) -> Progress:
        """The pivots chosen, and the first round open."""
        blank = np.full(self.tokens, TAKEN, np.float32)
        near, spread = self.choose(-blank, blank, self.pivots)
        pivots, rest = self.pivots.shape[0], self.keep + 2 * self.settings.batch - self.pivots.shape[0]
        order = mb.concat(values=[self.pivots, np.zeros(rest, np.int32)], axis=0)
        ranking = ascending(mb.mul(x=near, y=spread))
        threshold = np.array([self.settings.threshold], np.float32)
        return Progress(near, spread, ranking, one(0), threshold, order, one(self.keep - pivots))

    def unfinished(self, *state: Var) -> Var:
        """() bool: whether fewer than K tokens are chosen."""
        return mb.squeeze(x=mb.greater(x=Progress(*state).room, y=one(0)))

    def step(self, *state: Var, branch: bool) -> Progress:
        """Take from the first batch that has a token to take; if there is none, open the next round."""
        now = Progress(*state)
        scores = mb.mul(x=now.near, y=now.spread)
        start, tokens, fits = self.first_batch(now, scores)
        anchor = mb.tile(x=mb.slice_by_size(x=self.pivots, begin=[0], size=[1]), reps=[self.settings.batch])
        near, spread = self.choose(now.near, now.spread, mb.select(cond=fits, a=tokens, b=anchor))
        taken = mb.reduce_sum(x=mb.cast(x=fits, dtype="int32"), axes=[0], keep_dims=True)
        found = mb.greater(x=taken, y=one(0))
        ranking = self.ranking(now, scores, found, branch)
        cursor = mb.select(cond=found, a=mb.add(x=start, y=one(self.settings.batch)), b=one(0))
        raised = mb.add(x=now.threshold, y=np.array([self.settings.threshold_step], np.float32))
        threshold = mb.select(cond=found, a=now.threshold, b=raised)
        places = mb.add(x=mb.sub(x=self.lanes, y=now.room), y=one(self.keep))
        order = mb.scatter(data=now.order, indices=places, updates=tokens, axis=0, mode="update")
        return Progress(near, spread, ranking, cursor, threshold, order, mb.sub(x=now.room, y=taken))

    def first_batch(self, now: Progress, scores: Var) -> tuple[Var, Var, Var]:  # -> (1,), (B,), (B,)
        """Where the first batch with a token to take starts, its tokens by score, and which are taken."""
        ranked = _pick(scores, now.ranking)
        below = mb.less(x=ranked, y=now.threshold)
        takeable = mb.logical_and(x=below, y=mb.greater_equal(x=self.starts, y=now.cursor))
        ranked = mb.select(cond=takeable, a=ranked, b=np.full(self.tokens, TAKEN, np.float32))
        last = np.full(self.tokens, self.starts[-1], np.int32)
        start = mb.reduce_min(x=mb.select(cond=takeable, a=self.starts, b=last), axes=[0], keep_dims=True)
        places = mb.add(x=self.lanes, y=start)
        inside = mb.minimum(x=places, y=one(self.tokens - 1))
        batch = _pick(ranked, inside)
        if self.tokens % self.settings.batch:
            beyond = np.full(self.settings.batch, TAKEN, np.float32)
            batch = mb.select(cond=mb.less(x=places, y=one(self.tokens)), a=batch, b=beyond)
        lanes = ascending(batch)
        fits = mb.less(x=_pick(batch, lanes), y=np.array([TAKEN], np.float32))
        return start, _pick(_pick(now.ranking, inside), lanes), fits

    def ranking(self, now: Progress, scores: Var, found: Var, branch: bool) -> Var:
        """The ranking as it is, or that of a new round if nothing was found."""
        if not branch:
            every = mb.tile(x=found, reps=[self.tokens])
            return mb.select(cond=every, a=now.ranking, b=ascending(scores))
        return mb.cond(
            pred=mb.squeeze(x=found),
            _true_fn=lambda: mb.identity(x=now.ranking),
            _false_fn=lambda: ascending(scores),
        )

    def choose(self, near: Var, spread: Var, tokens: Var) -> tuple[Var, Var]:  # (N,), (N,), (B,) -> (N,), (N,)
        """`near` and `spread` once these tokens are chosen too."""
        rows = _pick(self.unit, tokens)
        similar = mb.reduce_max(x=mb.matmul(x=self.unit, y=rows, transpose_y=True), axes=[1], keep_dims=False)
        corner = _pick(self.cells.left[0].numpy(), tokens)
        squares = mb.reduce_min(x=mb.matmul(x=corner, y=self.cells.right[0].numpy()), axes=[0], keep_dims=False)
        apart = mb.greater(x=squares, y=np.zeros(1, np.float32))
        near = mb.select(cond=apart, a=mb.maximum(x=near, y=similar), b=np.full(self.tokens, TAKEN, np.float32))
        weight = np.array([self.settings.distance_weight / self.cells.diagonal], np.float32)
        away = mb.add(x=mb.mul(x=mb.sqrt(x=squares), y=weight), y=np.ones(1, np.float32))
        return near, mb.minimum(x=spread, y=away)

    def chosen(self, order: Var) -> Var:  # (K + 2B,) -> (K,)
        """What means anything of it."""
        return mb.slice_by_size(x=order, begin=[0], size=[self.keep])


def ascending(values: Var) -> Var:  # (n,) -> (n,) int32
    """Indices of the values, lowest first, equal ones by index."""
    index = np.arange(values.shape[0], dtype=np.int32)
    row, column = mb.expand_dims(x=values, axes=[0]), mb.expand_dims(x=values, axes=[1])
    tie = mb.logical_and(x=mb.equal(x=row, y=column), y=index[None] < index[:, None])
    before = mb.cast(x=mb.logical_or(x=mb.less(x=row, y=column), y=tie), dtype="int32")
    rank = mb.reduce_sum(x=before, axes=[1], keep_dims=False)
    return mb.scatter(data=np.zeros_like(index), indices=rank, updates=index, axis=0, mode="update")


def _pick(values: Var, indices: Var) -> Var:
    return mb.gather(x=values, indices=indices, axis=0, validate_indices=False)


def one(value: int) -> "np.ndarray[Any, np.dtype[np.int32]]":
    """A tensor of one whole number: the converter dislikes those without a dimension."""
    return np.array([value], np.int32)
