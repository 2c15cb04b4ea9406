"""Gives every token of a sequence its position, and says which tokens are visual tokens of which view."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prompt import EncodedPrompt
from vlmprune_runtime.schema import Grid, Pipeline

Indices = npt.NDArray[np.int64]

TEXT, PREFIX = -1, -2
"""The values of `Tokens.view` for text, and for tokens of a view that belong to no place in its image."""


class PruneGroup(NamedTuple):
    """Names views whose tokens are pruned together, and the index of the grid or mosaic that they lie on."""

    views: tuple[int, ...]
    grid: int


@dataclass(frozen=True)
class Tokens:
    """Holds the encoded `token_ids` (S,), 0 for visual tokens; the other fields describe the tokens that are left.

    `positions` (axes, S), `view` (S,) the view that a token belongs to, or `TEXT` or `PREFIX`, and `cell` (S,) its
    place on the view's grid, -1 where it has none. `grids` is the grid of each view, `groups` are the views that are
    pruned together, and `next_position` is that of the token behind the last.
    """

    token_ids: Indices
    positions: Indices
    view: Indices
    cell: Indices
    next_position: int
    grids: tuple[int, ...] = ()
    groups: tuple[PruneGroup, ...] = ()

    def select(self, remaining: npt.NDArray[Any]) -> "Tokens":
        """Returns the tokens where `remaining` (S,) is true; `token_ids` stays complete."""
        return replace(
            self, positions=self.positions[:, remaining], view=self.view[remaining], cell=self.cell[remaining]
        )


def place_text(pipeline: Pipeline, token_ids: Indices, start: int) -> Tokens:
    """Returns text tokens that count on from `start` on every axis."""
    count = len(token_ids)
    positions = np.tile(np.arange(start, start + count, dtype=np.int64), (pipeline.positions.axes, 1))
    text = np.full(count, TEXT, dtype=np.int64)
    return Tokens(token_ids.astype(np.int64), positions, text, text, start + count)


def place_prompt(pipeline: Pipeline, prompt: EncodedPrompt, start: int = 0) -> Tokens:
    """Returns the tokens of a prompt from position `start` on; the visual ones of each span lie on the span's grid."""
    token_ids, parts, at = prompt.token_ids.copy(), list[Tokens](), 0
    grids = grids_of(pipeline, prompt)
    for nth, span in enumerate(prompt.spans):
        text, grid = place_text(pipeline, token_ids[at : span.start], start), pipeline.grids[grids[nth]]
        prefix = _place_prefix(pipeline, grid.prefix_tokens, text.next_position)
        visual = _place_view(pipeline, grid, prefix.next_position, nth)
        parts += [text, prefix, visual]
        at, start = span.stop, visual.next_position
        token_ids[span.start : span.stop] = 0  # the image token's id may be outside the embedding table
    parts.append(place_text(pipeline, token_ids[at:], start))
    return Tokens(
        token_ids,
        np.concatenate([part.positions for part in parts], axis=1),
        np.concatenate([part.view for part in parts]),
        np.concatenate([part.cell for part in parts]),
        parts[-1].next_position,
        grids,
        groups_of(pipeline, prompt, grids),
    )


def grids_of(pipeline: Pipeline, prompt: EncodedPrompt) -> tuple[int, ...]:
    """Returns the index of each span's grid. Raises `BadRequest` if a span has no grid's number of tokens."""
    grids = prompt.grids or (0,) * len(prompt.spans)
    for nth, span in zip(grids, prompt.spans, strict=True):
        tokens, grid = span.stop - span.start, pipeline.grids[nth]
        if tokens != grid.view_tokens:
            raise BadRequest(f"the prompt has a place of {tokens} visual tokens; allowed: {grid.view_tokens}")
    return grids


def groups_of(pipeline: Pipeline, prompt: EncodedPrompt, grids: tuple[int, ...]) -> tuple[PruneGroup, ...]:
    """Returns the views that are pruned together: with mosaics the tiles of each image, every other view alone.

    Raises `BadRequest` for an image of tiles that no mosaic has.
    """
    if not pipeline.mosaics:
        return tuple(PruneGroup((view,), grid) for view, grid in enumerate(grids))
    groups, start = list[PruneGroup](), 0
    for image in prompt.seen_images:
        tiles, views = image.rows * image.columns, len(image.grids)
        if tiles:
            mosaic = pipeline.mosaic_index(image.rows, image.columns)
            groups.append(PruneGroup(tuple(range(start, start + tiles)), mosaic))
        groups += [PruneGroup((view,), grids[view]) for view in range(start + tiles, start + views)]
        start += views
    return tuple(groups)


def _place_prefix(pipeline: Pipeline, count: int, start: int) -> Tokens:
    blank = np.zeros(count, dtype=np.int64)
    return replace(place_text(pipeline, blank, start), view=np.full_like(blank, PREFIX))


def _place_view(pipeline: Pipeline, grid: Grid, start: int, view: int) -> Tokens:
    cells = np.arange(grid.visual_tokens, dtype=np.int64)
    if pipeline.positions.image == "grid":
        positions = start + np.stack([np.zeros_like(cells), cells // grid.width, cells % grid.width])
    else:
        positions = start + cells[None]
    return Tokens(np.zeros_like(cells), positions, np.full_like(cells, view), cells, int(positions.max()) + 1)
