"""The interface of a model family: where its parts are, and how its images and positions run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from vlmprune_export.families.dropping_tower import DroppingTower
from vlmprune_runtime.schema import Positions, TextModel

LayerKind = Literal["full", "sliding", "convolution"]


DEEPSTACK, VIEWS = "deepstack", "views"
"""What a decoder may take beside rows and positions, and the tensor of the tower that is added to hidden states."""


@dataclass(frozen=True)
class DecoderTraits:
    """What a decoder does that most decoders do not.

    `deepstack_layers` are those behind which features of the tower are added to the hidden states of visual tokens:
    its tensor `deepstack`, whose rows have (layers, D) numbers. With `image_attention` `both_ways` the visual tokens of
    a view attend to all tokens of that view. Layers of the kind `sliding` attend to the last `window_tokens` tokens.
    """

    deepstack_layers: tuple[int, ...] = ()
    image_attention: Literal["causal", "both_ways"] = "causal"
    window_tokens: int | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names what decoder stages take for it."""
        deep = (DEEPSTACK,) if self.deepstack_layers else ()
        return (*deep, *((VIEWS,) if self.image_attention == "both_ways" else ()))


@dataclass(frozen=True)
class ImageGrid:
    """A shape of image that the tower takes, and the visual tokens that come of it, high and wide.

    Before them the tower may give `prefix_tokens` rows that belong to no place in the image.
    """

    height: int
    width: int
    height_px: int
    width_px: int
    prefix_tokens: int = 0

    @property
    def view_tokens(self) -> int:
        """Returns the number of rows of features of one view."""
        return self.prefix_tokens + self.tokens

    @property
    def tokens(self) -> int:
        """Returns N, the visual tokens of one view."""
        return self.height * self.width


class Family(Protocol):
    """The interface through which stages use a model; Hugging Face's modules are called, not rewritten.

    `layer_kinds` says of every decoder layer what it attends to. `vision_modules` are the modules that `features`
    calls, `embed_modules` those that `embed` calls: their weights, and no others, belong to those stages. `projector`
    is the last of the vision modules, which takes rows one by one, and `tower_shapes` names the tensors of the tower
    that pruners may read, with the shape of a row of each. A `logit_cap` of c makes the logits c * tanh(logits / c).
    `images` is how many of the largest images the default context has room for: 2 where models of the family are
    trained on several.
    """

    model: nn.Module
    layers: nn.ModuleList
    layer_kinds: tuple[LayerKind, ...]
    traits: DecoderTraits
    norm: nn.Module
    lm_head: nn.Linear
    vision_modules: tuple[nn.Module, ...]
    projector: nn.Module
    tower_shapes: Mapping[str, tuple[int, ...]]
    embed_modules: tuple[nn.Module, ...]
    grids: tuple[ImageGrid, ...]
    positions: Positions
    text_model: TextModel
    max_positions: int
    images: int
    logit_cap: float | None

    def features(self, pixels: Tensor, grid: int) -> Tensor:
        """Returns the projected features of one view on a grid, (1, 3, height, width) -> (view_tokens, D)."""
        ...

    def read_tower(self, pixels: Tensor, grid: int, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Returns `features` and the tensors of the tower of those names, each with a row for every visual token."""
        ...

    def embed(self, token_ids: Tensor) -> Tensor:
        """Returns the embeddings of text as the decoder takes them, scaled where the model scales, (S,) -> (S, D)."""
        ...

    def rotary(self, hidden: Tensor, positions: Tensor, kind: LayerKind) -> tuple[Tensor, Tensor]:
        """Returns cosine and sine of the positions for a kind of layer, (1, S, D), (axes, 1, S) -> 2 x (1, S, dh).

        With one axis, `positions` are (1, S).
        """
        ...


@runtime_checkable
class DropsInTower(Protocol):
    """A family whose vision tower can drop tokens between two of its layers."""

    dropping_tower: DroppingTower
