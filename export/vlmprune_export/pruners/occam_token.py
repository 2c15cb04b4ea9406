"""OccamToken (arXiv 2605.29657) keeps what is attended to more than a register token that soaks up attention.

The number of tokens is fixed here: the threshold is chosen such that K stay, which keeps the K tokens of the largest
scores. Whoever shows a number calls it "OccamToken, fixed budget".
"""

from dataclasses import dataclass

from torch import Tensor

from vlmprune_export.pruners.grid import LARGEST_SIDE
from vlmprune_export.pruners.needs import HIDDEN, Need, Place
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.settings import check_integer
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.stable_sort import in_image_order, largest
from vlmprune_export.pruners.text_cut import TextCut, largest_of
from vlmprune_runtime.errors import BadRequest


@dataclass(frozen=True)
class OccamSettings:
    """`vision_keep` tokens stay behind the tower, None for four of nine (256 of 576), or K if that is more."""

    vision_keep: int | None = None

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        if self.vision_keep is not None:
            check_integer("vision_keep", self.vision_keep, 1, LARGEST_SIDE**2)


def occam_places(settings: OccamSettings, layer: int) -> tuple[Place, ...]:
    """Returns the two places of the method. Raises `BadRequest` for a second cut before the first decoder layer."""
    if layer == 0:
        raise BadRequest("layer: got 0; occam-token cuts again before a decoder layer; allowed: 1 or more")
    return (Place("vision", settings.vision_keep or first_keep), Place("layer"))


def first_keep(tokens: int, keep: int) -> int:
    """Returns how many tokens stay behind the tower.

    >>> first_keep(576, 64), first_keep(576, 300)
    (256, 300)
    """
    return max(keep, round(tokens * 4 / 9))


def occam_layer(layers: int) -> int:
    """Returns the layer behind the 11th of 32, whose attention decides in the paper."""
    return max(1, round(layers * 11 / 32))


def occam_pruner(site: Site, settings: OccamSettings) -> Pruner:
    """Returns the pruner of the cut behind the tower (stage I), or of the one before a decoder layer (stage II).

    There a token's score is the attention of the one text token that attends to it most.
    """
    return OccamVision(site, settings) if site.at == "vision" else TextCut(site, settings, largest_of)


class OccamVision(Pruner):
    """Stage I keeps the tokens to which the tower's CLS token attends most."""

    needs = (HIDDEN, Need("tower_attention"))

    def __init__(self, site: Site, settings: OccamSettings) -> None:
        """Builds the pruner for a site."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings

    def forward(self, hidden: Tensor, attention: Tensor) -> Pruned:  # (N, D), (N,) -> (K,), (K, D), (K,)
        """Returns the kept indices in ascending order, their rows of `hidden`, and the rank of each."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        kept, rank = in_image_order(largest(attention, self.keep, self.control_flow), self.control_flow)
        return kept, hidden.index_select(0, kept), rank
