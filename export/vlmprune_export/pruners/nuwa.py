"""Nüwa (arXiv 2602.02951): tokens spread over the image gather what lies around them; the question chooses later.

Where the paper and the released code differ, this is the code for LLaVA, whose numbers were published.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pruners.fastv import FastV
from vlmprune_export.pruners.grid import LARGEST_SIDE, Grid
from vlmprune_export.pruners.needs import HIDDEN, Need, Place
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.settings import check_integer, check_number
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest, stable_argsort
from vlmprune_runtime.errors import BadRequest

CELL = 4
"""The tokens of a cell of two rows and two columns."""


@dataclass(frozen=True)
class NuwaSettings:
    """Settings of Nüwa.

    `vision_keep` tokens stay behind the tower, None for seven times as many as stay in the end, as in the released
    tables, but at most three quarters. `cell_tokens` of each cell of 2 x 2 are candidates, None for as many as are
    needed. `pillars` is the quantile of the kept tokens' scores from which on they stay as they are. `reach_squared` is
    the square of the distance, in tokens, from which others are gathered, None for 280 of 1058, the squared diagonal of
    24 x 24.
    """

    vision_keep: int | None = None
    cell_tokens: int | None = None
    pillars: float = 0.55
    reach_squared: float | None = None

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        if self.vision_keep is not None:
            check_integer("vision_keep", self.vision_keep, 1, LARGEST_SIDE**2)
        if self.cell_tokens is not None:
            check_integer("cell_tokens", self.cell_tokens, 1, CELL)
        check_number("pillars", self.pillars, 0, 1)
        if self.reach_squared is not None:
            check_number("reach_squared", self.reach_squared, 1e-3, 1e9)


def nuwa_places(settings: NuwaSettings, layer: int) -> tuple[Place, ...]:
    """Returns the two places of the method. Raises `BadRequest` for a second cut before the first decoder layer."""
    if layer == 0:
        raise BadRequest("layer: got 0; nuwa cuts again before a decoder layer; allowed: 1 or more")
    return (Place("vision", settings.vision_keep or spread_keep), Place("layer"))


def spread_keep(tokens: int, keep: int) -> int:
    """Returns how many tokens stay behind the tower.

    >>> spread_keep(576, 16), spread_keep(576, 100), spread_keep(576, 500)
    (112, 432, 500)
    """
    return max(keep, min(7 * keep, tokens * 3 // 4))


def nuwa_layer(layers: int) -> int:
    """Returns the middle of the decoder, where the released code cuts 32 layers."""
    return layers // 2


def nuwa_pruner(site: Site, settings: NuwaSettings) -> Pruner:
    """Returns the pruner of the cut behind the tower, or of the one before a decoder layer, which is FastV's rule."""
    return NuwaVision(site, settings) if site.at == "vision" else FastV(site, settings)


def pillar_count(keep: int, quantile: float) -> int:
    """Returns how many of the kept tokens have a score from the quantile on, if no two are equal.

    >>> pillar_count(112, 0.55), pillar_count(101, 0.55)
    (50, 46)
    """
    return keep - math.ceil(quantile * (keep - 1) - 1e-6)


class NuwaVision(Pruner):
    """Keeps the best tokens of all cells; the less salient of them gather similar tokens around them."""

    needs = (HIDDEN, Need("tower_hidden"), Need("tower_late"), Need("tower_attention"))
    uses_modules = True
    cells: Tensor

    def __init__(self, site: Site, settings: NuwaSettings) -> None:
        """Builds the pruner for a site. Raises `BadRequest` if cells give fewer candidates than tokens stay."""
        super().__init__()
        self.grid, self.keep, self.settings = Grid(*site.grid), site.keep, settings
        self.projector = site.parts.projector
        (height, width), squared = site.grid, settings.reach_squared
        self.reach = math.sqrt(squared or max(1.0, 280 * ((height - 1) ** 2 + (width - 1) ** 2) / 1058))
        cells = cell_tokens(height, width)
        self.best = settings.cell_tokens or min(CELL, max(1, -(-site.keep // max(1, len(cells)))))
        found = self.best * len(cells)
        if settings.cell_tokens is not None and found < site.keep < site.tokens:
            raise BadRequest(f"cell_tokens is {self.best}: {found} candidates; allowed: None, or {site.keep} of them")
        self.register_buffer("cells", torch.tensor(cells, dtype=torch.int64).view(-1, CELL), persistent=False)

    def forward(  # (N, D), (N, Dt), (N, Dh), (N,) -> (K,), (K, D), (K,)
        self, hidden: Tensor, tower_hidden: Tensor, late: Tensor, attention: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, their rows of `hidden` or gathered rows, and the ranks."""
        if self.grid.tokens <= self.keep:
            return keep_all(hidden)
        chosen = self.by_score(attention)[: self.keep]
        pillars = pillar_count(self.keep, self.settings.pillars)
        rows = [hidden.index_select(0, chosen[:pillars])]
        if pillars < self.keep:
            gathered = self.gathered(tower_hidden, late, chosen[pillars:])
            rows.append(self.projector(gathered).to(hidden.dtype))
        kept, rank = in_image_order(chosen, self.control_flow)
        return kept, torch.cat(rows).index_select(0, rank), rank

    def by_score(self, attention: Tensor) -> Tensor:  # (N,) -> (N,)
        """Returns all tokens: the candidates by score, then the other tokens by score."""
        ranked = largest(attention, self.grid.tokens, self.control_flow)
        if not self.cells.shape[0]:
            return ranked
        place = torch.zeros_like(ranked).scatter(0, ranked, torch.arange(self.grid.tokens))
        return stable_argsort(place + self.grid.tokens * self.later(place), self.control_flow)

    def later(self, place: Tensor) -> Tensor:  # (N,) -> (N,)
        """Returns 0 for the best tokens of each cell, and 1 for all others; `place` is a token's place by score."""
        in_cell = place.index_select(0, self.cells.view(-1)).view(-1, CELL, 1)
        better = (in_cell.mT < in_cell).to(torch.int64).sum(2).view(-1)
        beaten = (better >= self.best).to(torch.int64)
        return torch.ones(self.grid.tokens, dtype=torch.int64).scatter(0, self.cells.view(-1), beaten)

    def gathered(self, rows: Tensor, late: Tensor, chosen: Tensor) -> Tensor:  # (N, Dt), (N, Dh), (C,) -> (C, Dt)
        """Returns the row of each chosen token plus the weighted mean of rows that are similar and near."""
        unit = unit_rows(late, self.control_flow)
        similar = products(unit.index_select(0, chosen), unit).clamp(min=0.0)
        near = (1 - self.grid.squared_distances(chosen).sqrt() / self.reach).clamp(min=0.0)
        weights = similar * near
        weights = weights / (weights.sum(1, keepdim=True) + 1e-8)
        weights = weights.scatter(1, chosen[:, None], 1.0)
        return products(weights, rows.float().mT).clamp(-3e38, 3e38).to(rows.dtype)


def cell_tokens(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Returns the tokens of each cell of 2 x 2; of an odd side, the last row or column belongs to none.

    >>> cell_tokens(2, 5)
    [(0, 1, 5, 6), (2, 3, 7, 8)]
    """
    corners = [y * width + x for y in range(0, height - 1, 2) for x in range(0, width - 1, 2)]
    return [(one, one + 1, one + width, one + width + 1) for one in corners]
