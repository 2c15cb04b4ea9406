"""DUET-VLM (arXiv 2602.18846) merges visual tokens behind the tower, and lets the question choose in the decoder."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pruners.grid import LARGEST_SIDE
from vlmprune_export.pruners.needs import HIDDEN, Need, Place
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.settings import check_integer
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest
from vlmprune_export.pruners.text_cut import NEXT_LAYER, TextCut, summed
from vlmprune_runtime.errors import BadRequest

FINITE = 3e38
"""Merged rows are clamped to this size, so that a sum of finite rows is finite."""


@dataclass(frozen=True)
class DuetSettings:
    """Settings of DUET-VLM.

    `vision_keep` tokens stay behind the tower, None for twice as many as stay in the end (the released ratio 0.5).
    `contextual` of them are merged ones, None for 7 of 307 (the released scripts); `cluster_width` times as many tokens
    are merged into them, and all others are dropped.
    """

    vision_keep: int | None = None
    contextual: int | None = None
    cluster_width: int = 4

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        for name in ("vision_keep", "contextual"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1, LARGEST_SIDE**2)
        check_integer("cluster_width", self.cluster_width, 1, 4096)


def duet_places(settings: DuetSettings, layer: int) -> tuple[Place, ...]:
    """Returns the two places of the method. Raises `BadRequest` for a second cut before the first decoder layer."""
    if layer == 0:
        raise BadRequest("layer: got 0; duet-vlm cuts again before a decoder layer; allowed: 1 or more")
    return (Place("vision", settings.vision_keep or (lambda tokens, keep: min(tokens, 2 * keep))), Place("layer"))


def duet_layer(layers: int) -> int:
    """Returns the middle of the decoder, where the released code cuts 32 layers."""
    return layers // 2


def duet_pruner(site: Site, settings: DuetSettings) -> Pruner:
    """Returns the pruner of the cut behind the tower, or of the one before a decoder layer (stages V2V and T2V).

    There every text token behind the image votes, which is what the released model runs with the published weights.
    """
    return DuetVision(site, settings) if site.at == "vision" else TextCut(site, settings, summed, NEXT_LAYER)


class DuetVision(Pruner):
    """Keeps dominant tokens as they are, and merges the next best ones into few of themselves (paper, stage V2V).

    The CLS token itself is not kept, for it has no place in the image. Rows are merged before the projector.
    """

    needs = (HIDDEN, Need("tower_hidden"), Need("tower_attention"), Need("tower_keys"))
    uses_modules = True

    def __init__(self, site: Site, settings: DuetSettings) -> None:
        """Builds the pruner for a site. Raises `BadRequest` if more tokens are merged ones than stay."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.projector = site.parts.projector
        self.contextual = settings.contextual or max(1, round(site.keep * 7 / 307))
        if self.contextual > site.keep:
            raise BadRequest(f"contextual is {self.contextual}; allowed: 1 to {site.keep} (the tokens that stay)")

    def forward(  # (N, D), (N, Dt), (N,), (N, dh) -> (K,), (K, D), (K,)
        self, hidden: Tensor, tower_hidden: Tensor, attention: Tensor, keys: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, their rows of `hidden` or merged rows, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        dominant = self.keep - self.contextual
        pool = min(self.settings.cluster_width * self.contextual, self.tokens - dominant)
        ranked = largest(attention, dominant + pool, self.control_flow)
        step = max(1, pool // self.contextual)
        anchors = range(dominant, dominant + step * self.contextual, step)
        chosen = torch.cat([ranked[:dominant], ranked[anchors.start : anchors.stop : step]])
        others = [place for place in range(dominant, dominant + pool) if place not in anchors]
        joining = ranked.index_select(0, torch.tensor(others, dtype=torch.int64))
        merged = self._merged(tower_hidden, keys, chosen[dominant:], joining)
        rows = torch.cat([hidden.index_select(0, chosen[:dominant]), self.projector(merged).to(hidden.dtype)])
        kept, rank = in_image_order(chosen, self.control_flow)
        return kept, rows.index_select(0, rank), rank

    def _merged(  # (N, Dt), (N, dh), (C,), (M,) -> (C, Dt)
        self, rows: Tensor, keys: Tensor, anchors: Tensor, others: Tensor
    ) -> Tensor:
        """Returns the row of each anchor plus the mean of the rows that are most similar to it; a sum, no average."""
        own = rows.index_select(0, anchors)
        if not others.shape[0]:
            return own
        unit = unit_rows(keys, self.control_flow)
        similar = products(unit.index_select(0, anchors), unit.index_select(0, others))
        members = torch.zeros_like(similar).scatter(0, similar.argmax(0, keepdim=True), 1.0)
        means = products(members / members.sum(1, keepdim=True).clamp(min=1.0), rows.index_select(0, others).float().mT)
        return (own.float() + means).clamp(-FINITE, FINITE).to(rows.dtype)
