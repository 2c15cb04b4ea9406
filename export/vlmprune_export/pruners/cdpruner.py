"""CDPruner (arXiv 2506.10967) keeps tokens that differ from each other and matter to the question.

It maximises the determinant of a kernel of similarities, weighted by relevance, greedily (MAP of a determinantal point
process). The relevance comes from CLIP's text tower, or, as `cdpruner-embed`, from the model's own word embeddings.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pruners.attention_rows import behind
from vlmprune_export.pruners.loops import ControlFlow, State, repeat
from vlmprune_export.pruners.needs import HIDDEN, PLACES, TEXT_PLACES, Need
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.settings import NoSettings, check_number
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order

LEAST = 1e-6
"""The least range of relevance, and the relevance of the least relevant token."""
NOTHING = 1e-10
"""A determinant that grows by no more than this factor has no rank left."""


class CdPruner(Pruner):
    """Reads patches and question in CLIP's joint space, where patches that match a text are the LESS similar ones."""

    needs = (HIDDEN, Need("joint"), Need("joint", "text"))

    def __init__(self, site: Site, settings: NoSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings

    def forward(self, hidden: Tensor, patches: Tensor, text: Tensor) -> Pruned:  # (N, D), (N, Dj), (M, Dj)
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        similar = products(unit_rows(patches, self.control_flow), unit_rows(text, self.control_flow))
        relevance = in_range(-similar.mean(1), LEAST)
        unit = unit_rows(hidden, self.control_flow)
        kernel = relevance[:, None] * products(unit, unit) * relevance[None]
        kept, rank = in_image_order(most_diverse(kernel, self.keep, self.control_flow), self.control_flow)
        return kept, hidden.index_select(0, kept), rank


@dataclass(frozen=True)
class CdPrunerEmbedSettings:
    """`weight` is the share of relevance in the kernel; the rest is plain similarity."""

    weight: float = 0.5

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        check_number("weight", self.weight, 0, 1)


class CdPrunerEmbed(Pruner):
    """The same without CLIP: relevance is the mean similarity to the embeddings of the text behind the image."""

    needs = (HIDDEN, PLACES, Need("embeddings", "text"), TEXT_PLACES)

    def __init__(self, site: Site, settings: CdPrunerEmbedSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings

    def forward(  # (N, D), (N,), (T, D), (T,) -> (K,), (K, D), (K,)
        self, hidden: Tensor, places: Tensor, text: Tensor, text_places: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        unit, after = unit_rows(hidden, self.control_flow), behind(text_places, places).float()
        similar = products(unit, unit_rows(text, self.control_flow))
        relevance = in_range(products(similar, after[None])[:, 0] / after.sum(0).clamp(min=1.0), 0.0)
        weights = self.settings.weight * relevance[:, None] * relevance[None] + (1 - self.settings.weight)
        kept, rank = in_image_order(
            most_diverse(weights * products(unit, unit), self.keep, self.control_flow), self.control_flow
        )
        return kept, hidden.index_select(0, kept), rank


def in_range(relevance: Tensor, least: float) -> Tensor:  # (N,) -> (N,)
    """Returns relevance from about 0 to 1, where `least` stands at the bottom."""
    lowest, highest = relevance.amin(0), relevance.amax(0)
    return (relevance - lowest + least) / (highest - lowest).clamp(min=LEAST)


def most_diverse(kernel: Tensor, count: int, control_flow: ControlFlow) -> Tensor:  # (N, N) -> (count,)
    """Returns the tokens that maximise the determinant of their part of the kernel, in the order of their choice.

    Each step carries the rows of the Cholesky factor so far (1, count, N) and what each token would add.
    """
    tokens, places, rows = kernel.shape[0], torch.arange(count).view(1, count, 1), kernel[None]

    def step(state: State) -> State:
        adds, factor, chosen, nth = state
        token = adds.argmax(0, keepdim=True)
        pivot = adds.index_select(0, token)
        explained = torch.bmm(factor.index_select(2, token).mT, factor)
        # Without rank left, the row becomes so small that adding its squares changes no number.
        scale = torch.where(pivot > NOTHING, pivot, 3e38).rsqrt()
        row = (rows.index_select(1, token) - explained) * scale
        left = (adds - (row * row).view(-1)).scatter(0, token, torch.full((1,), -3e38))
        # ExecuTorch scatters an expanded index wrongly, and multiplies slowly where both factors are expanded.
        factor = factor + torch.bmm((places == nth).float(), row)
        return left, factor, chosen.scatter(0, nth, token), nth + 1

    itself = torch.arange(tokens) * (tokens + 1)
    start = (
        kernel.reshape(-1).index_select(0, itself),
        torch.zeros(1, count, tokens),
        torch.zeros(count, dtype=torch.int64),
        torch.zeros(1, dtype=torch.int64),
    )
    return repeat(step, start, steps=count, control_flow=control_flow)[2]
