"""DART (arXiv 2502.11494) keeps pivots and, for each of them, the tokens that duplicate it least."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmprune_export.pruners.attention_rows import behind
from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.needs import HIDDEN, KEYS, PLACES, TEXT_PLACES, Need
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.row_sums import row_sums
from vlmprune_export.pruners.settings import check_integer
from vlmprune_export.pruners.similarity import products, unit_rows
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest
from vlmprune_export.pruners.unit_vectors import scaled_for_squares

TAKEN = -9.0
"""The score of a token that is chosen already, below the negative of any cosine."""


@dataclass(frozen=True)
class DartSettings:
    """How many pivots are picked among visual tokens and among the text behind the image."""

    image_pivots: int = 4
    text_pivots: int = 4

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        check_integer("image_pivots", self.image_pivots, 1, 64)
        check_integer("text_pivots", self.text_pivots, 0, 64)


class Dart(Pruner):
    """Compares hidden states after the model's final norm, of which only the factor per channel matters in a cosine."""

    needs = (HIDDEN, KEYS, PLACES, Need("hidden", "text"), Need("keys", "text"), TEXT_PLACES)
    uses_modules = True
    factors: Tensor

    def __init__(self, site: Site, settings: DartSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.register_buffer("factors", norm_factors(site.parts.norm), persistent=False)

    def forward(  # (N, D), (N, Dk), (N,), (T, D), (T, Dk), (T,) -> (K,), (K, D), (K,)
        self, hidden: Tensor, keys: Tensor, places: Tensor, text: Tensor, text_keys: Tensor, text_places: Tensor
    ) -> Pruned:
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        unit = unit_rows(hidden.float() * self.factors, self.control_flow)
        image = strongest(keys, min(self.settings.image_pivots, self.keep), self.control_flow)
        pivots = unit.index_select(0, image)
        if self.settings.text_pivots:
            after = behind(text_places, places)
            steering = self.text_pivots(text, text_keys, after)
            # Where the prompt has fewer text tokens, the first image pivot stands in.
            first = pivots[:1].expand(self.settings.text_pivots, -1)
            there = after.sum(0) > torch.arange(self.settings.text_pivots)
            pivots = torch.cat([pivots, torch.where(there[:, None], steering, first)])
        kept, rank = in_image_order(self.choose(products(pivots, unit), image), self.control_flow)
        return kept, hidden.index_select(0, kept), rank

    def text_pivots(self, text: Tensor, keys: Tensor, after: Tensor) -> Tensor:  # (T, D), (T, Dk), (T,) -> (P, D)
        """Returns the unit vectors of the text tokens behind the image with the largest keys, and zeros for missing."""
        count = self.settings.text_pivots
        rows = torch.cat([text.float(), torch.zeros(count, text.shape[1])])
        sizes = torch.where(after, lengths(keys, self.control_flow), -1.0)
        chosen = largest(torch.cat([sizes, torch.full((count,), -2.0)]), count, self.control_flow)
        return unit_rows(rows.index_select(0, chosen) * self.factors, self.control_flow)

    def choose(self, similar: Tensor, image: Tensor) -> Tensor:  # (P, N), (Pi,) -> (K,)
        """Returns the chosen tokens in order: the image pivots, then for each pivot the least similar tokens."""
        chosen, taken = [image], torch.zeros(self.tokens).index_fill(0, image, 1.0)
        for nth, count in enumerate(shares(self.keep - image.shape[0], similar.shape[0])):
            if count:
                open_to = torch.where(taken > 0, TAKEN, -similar[nth])
                chosen.append(largest(open_to, count, self.control_flow))
                taken = taken.index_fill(0, chosen[-1], 1.0)
        return torch.cat(chosen)


@torch.no_grad()
def norm_factors(norm: nn.Module) -> Tensor:  # -> (D,), or (1,) without a norm
    """Returns the factors that a root-mean-square norm gives the channels, up to a common factor."""
    for weight in norm.parameters():
        factors: Tensor = norm(torch.ones_like(weight)[None])[0].float()
        return factors
    return torch.ones(1)


def strongest(keys: Tensor, count: int, control_flow: ControlFlow) -> Tensor:  # (N, Dk) -> (count,)
    """Returns the tokens whose keys have the largest L1 norm, largest first."""
    return largest(lengths(keys, control_flow), count, control_flow)


def lengths(keys: Tensor, control_flow: ControlFlow) -> Tensor:  # (N, Dk) -> (N,)
    """Returns the L1 norm of each key, up to a common factor; a NaN counts as 0."""
    sums = row_sums(scaled_for_squares(keys, control_flow).abs(), control_flow)
    return torch.where(sums >= 0, sums, 0.0)


def shares(tokens: int, pivots: int) -> list[int]:
    """Returns how many tokens each pivot chooses; the first ones choose one more where it does not divide.

    >>> shares(60, 8)
    [8, 8, 8, 8, 7, 7, 7, 7]
    """
    return [tokens // pivots + (nth < tokens % pivots) for nth in range(pivots)]
