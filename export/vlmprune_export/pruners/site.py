"""The site of a pruner: the tokens of its cut, and the parts of the model that it may use."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from vlmprune_export.pruners.needs import CutPlace


class TowerParts(Protocol):
    """A vision tower in which tokens are dropped behind a layer; the module of it has the weights."""

    def layer_behind(self, fraction: float) -> int:
        """Returns the layer at a fraction of the tower; tokens can be dropped behind it."""
        ...

    def __call__(self, pixels: Tensor, layer: int, select: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the visual embeddings (K, D) of the tokens that `select` takes by their keys (N, dh), and these."""
        ...


@dataclass(frozen=True)
class ModelParts:
    """The numbers and modules of a model that methods use; the defaults suit a model of one attention head.

    `heads`, `kv_heads` and `head_dim` are those of the decoder. `projector` takes a row of the vision tower, as the
    need `tower_hidden` gives it, to a visual embedding; `norm` is the decoder's last norm. A pruner has no weights of
    its own, but one that merges rows of the tower needs the projector behind it. `rope` takes positions (P,) to the
    cosines (P, head_dim) of the decoder's rotary embedding, and is None where positions have several axes; a sequence
    may have as many as `positions`. `tower` is the vision tower for a pruner that works inside it, None where the
    family has none that tokens can be dropped in; its weights then belong to the prune stage too.
    """

    heads: int = 1
    kv_heads: int = 1
    head_dim: int | None = None
    projector: nn.Module = field(default_factory=nn.Identity)
    norm: nn.Module = field(default_factory=nn.Identity)
    rope: Callable[[Tensor], Tensor] | None = None
    positions: int = 2048
    tower: TowerParts | None = None


@dataclass(frozen=True)
class Site:
    """The cut that a pruner stands at: `keep` of the tokens of a grid (height, width) stay.

    Behind another cut the tokens lie on no grid any more, and `grid` is (1, tokens).
    """

    grid: tuple[int, int]
    keep: int
    at: CutPlace = "layer"
    parts: ModelParts = field(default_factory=ModelParts)

    @property
    def tokens(self) -> int:
        """N, the tokens of one view before the cut.

        >>> Site((3, 4), 5).tokens
        12
        """
        return self.grid[0] * self.grid[1]
