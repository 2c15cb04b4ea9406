"""MMTok (arXiv 2508.18264) keeps the tokens that best cover both the question and the image.

The released code reads keywords, which a host filters from the question. Here every text token behind the image counts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pruners.attention_rows import behind
from vlmprune_export.pruners.loops import State, repeat
from vlmprune_export.pruners.needs import HIDDEN, PLACES, TEXT_PLACES, Need
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.row_sums import row_summer
from vlmprune_export.pruners.settings import check_integer, check_number
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest


@dataclass(frozen=True)
class MmTokSettings:
    """`alpha` weighs the image against the question; the temperatures are those of similarities to either.

    Of a longer text the first `text_tokens` behind the image are read.
    """

    alpha: float = 0.5
    text_temperature: float = 0.02
    visual_temperature: float = 0.2
    text_tokens: int = 64

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        check_number("alpha", self.alpha, 0, 100)
        check_number("text_temperature", self.text_temperature, 1e-3, 100)
        check_integer("text_tokens", self.text_tokens, 1, 4096)
        check_number("visual_temperature", self.visual_temperature, 1e-3, 100)


class MmTok(Pruner):
    """Maximises coverage greedily: each row of similarities is covered as well as its best kept token covers it."""

    needs = (HIDDEN, PLACES, Need("tower_hidden"), Need("embeddings", "text"), TEXT_PLACES)

    def __init__(self, site: Site, settings: MmTokSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings

    def forward(  # (N, D), (N,), (N, Dt), (T, D), (T,) -> (K,), (K, D), (K,)
        self, hidden: Tensor, places: Tensor, tower: Tensor, text: Tensor, text_places: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        question = self.first_rows(text, behind(text_places, places))
        covers = torch.cat([self.of_text(hidden, *question), self.of_image(tower)], 1)
        kept, rank = in_image_order(self.choose(covers), self.control_flow)
        return kept, hidden.index_select(0, kept), rank

    def first_rows(self, text: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:  # (T, D), (T,) -> (M, D), (M,)
        """Returns a fixed number of rows, first those behind the image, and which are these."""
        count = self.settings.text_tokens
        order = torch.where(after, -torch.arange(text.shape[0]).float(), -3e38)
        order = torch.cat([order, torch.full((count,), -3e38)])
        first = largest(order, count, self.control_flow)
        rows = torch.cat([text.float(), torch.zeros(count, text.shape[1])])
        return rows.index_select(0, first), torch.cat([after.float(), torch.zeros(count)]).index_select(0, first)

    def of_text(self, hidden: Tensor, text: Tensor, after: Tensor) -> Tensor:  # (N, D), (M, D), (M,) -> (N, M)
        """Returns how much each visual token covers each text token behind the image; other text counts nothing."""
        similar = products(unit_rows(text, self.control_flow), unit_rows(hidden, self.control_flow))
        shares = torch.softmax(similar / self.settings.text_temperature, dim=-1)
        weights = after / after.sum(0).clamp(min=1.0)
        covers: Tensor = (shares * weights[:, None]).mT.contiguous()
        return covers

    def of_image(self, tower: Tensor) -> Tensor:  # (N, Dt) -> (N, N)
        """Returns how much each visual token, by row, covers every visual token."""
        unit = unit_rows(tower, self.control_flow)
        shares = torch.softmax(products(unit, unit) / self.settings.visual_temperature, dim=-1)
        covers: Tensor = (shares * (self.settings.alpha / self.tokens)).mT.contiguous()
        return covers

    def choose(self, covers: Tensor) -> Tensor:  # (N, R) -> (K,)
        """Returns the chosen tokens in order, each the one that adds most to the coverage of all rows."""
        sums = row_summer(covers.shape[1], self.control_flow)

        def step(state: State) -> State:
            covered, free, chosen, count = state
            gains = sums(torch.relu(covers - covered))  # ExecuTorch has no fast `clamp`
            token = torch.where(free > 0, gains, -1.0).argmax(0, keepdim=True)
            covered = torch.maximum(covered, covers.index_select(0, token))
            free = free.scatter(0, token, torch.zeros(1))
            return covered, free, chosen.scatter(0, count, token), count + 1

        start = (
            torch.zeros_like(covers[:1]),
            torch.ones(self.tokens),
            torch.zeros(self.keep, dtype=torch.int64),
            torch.zeros(1, dtype=torch.int64),
        )
        return repeat(step, start, steps=self.keep, control_flow=self.control_flow)[2]
