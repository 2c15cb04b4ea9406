"""VisionZip (arXiv 2412.04467) keeps the tokens that the tower's CLS token attends to, and merges the others."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pruners.needs import HIDDEN, Need
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.settings import check_integer
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest
from vlmprune_runtime.errors import BadRequest


@dataclass(frozen=True)
class VisionZipSettings:
    """`contextual` of the kept tokens are merged ones; None stands for 10 of 64, the paper's share."""

    contextual: int | None = None

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        if self.contextual is not None:
            check_integer("contextual", self.contextual, 1, 2**20)


class VisionZip(Pruner):
    """Keeps dominant tokens as they are; contextual tokens, evenly spaced among the rest, take up what is like them.

    The CLS token itself is not kept: it has no place in the image.
    """

    needs = (HIDDEN, Need("tower_hidden"), Need("tower_attention"), Need("tower_keys"))
    uses_modules = True

    def __init__(self, site: Site, settings: VisionZipSettings) -> None:
        """Builds the pruner for a site. Raises `BadRequest` if too few tokens are left to merge."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.projector = site.parts.projector
        self.contextual = min(settings.contextual or max(1, round(site.keep * 10 / 64)), site.tokens)
        if self.contextual > site.keep:
            raise BadRequest(f"contextual is {self.contextual}; allowed: 1 to {site.keep} (the tokens that stay)")

    def forward(  # (N, D), (N, Dt), (N,), (N, dh) -> (K,), (K, D), (K,)
        self, hidden: Tensor, tower_hidden: Tensor, attention: Tensor, metric: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, their rows or those merged before the projector, the ranks."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        ranked = largest(attention, self.tokens, self.control_flow)
        dominant = ranked[: self.keep - self.contextual]
        rest, _ = in_image_order(ranked[self.keep - self.contextual :], self.control_flow)
        step = max(1, rest.shape[0] // self.contextual)
        target_places = torch.arange(self.contextual) * step
        targets = rest.index_select(0, target_places)
        merged = self.merge(tower_hidden.float().index_select(0, rest), metric.index_select(0, rest), target_places)
        kept, rank = in_image_order(torch.cat([dominant, targets]), self.control_flow)
        projected = self.projector(merged.to(tower_hidden.dtype)).to(hidden.dtype)
        rows = torch.cat([hidden.index_select(0, dominant), projected])
        return kept, rows.index_select(0, rank), rank

    def merge(self, rows: Tensor, metric: Tensor, targets: Tensor) -> Tensor:  # (M, D), (M, dh), (C,) -> (C, D)
        """Returns each target's row plus the mean of the rows that are most similar to it."""
        unit = unit_rows(metric, self.control_flow)
        similar = products(unit.index_select(0, targets), unit)
        free = torch.ones(rows.shape[0]).index_fill(0, targets, 0.0)
        nearest = similar.argmax(0, keepdim=True)
        members = torch.zeros_like(similar).scatter(0, nearest, free[None])
        means = products(members / members.sum(1, keepdim=True).clamp(min=1.0), rows.mT)
        return rows.index_select(0, targets) + means
