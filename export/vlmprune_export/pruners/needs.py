"""The closed vocabulary in which a pruner declares the tensors that it reads and the places where it cuts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

TowerTensorName = Literal[
    "tower_hidden", "tower_keys", "tower_attention", "tower_last_keys", "tower_last_attention", "tower_late"
]
DecoderTensorName = Literal["hidden", "keys", "query", "next_keys", "next_query"]
TensorName = DecoderTensorName | Literal["embeddings", "places", "joint", "pixels"] | TowerTensorName
TokenGroup = Literal["visual", "text", "last", "all"]
CutPlace = Literal["vision", "input", "layer"]


@dataclass(frozen=True)
class Need:
    """A tensor that a pruner reads, and the tokens whose rows it reads.

    `hidden`: the rows of the residual stream where the cut stands; at the vision stage and at the language model's
    input these are the visual embeddings. `keys` and `query`: those of the decoder layer before the cut, after RoPE,
    all heads side by side; `next_keys` and `next_query`: those of the layer behind the cut, had it seen every token.
    `embeddings`: what the language model takes, visual embeddings or those of text. `places`:
    where the rows stand in the sequence, which says what a query can see and which text lies behind the image. Text is
    that before the image, too, and of any length; on a target of fixed lengths it is padded at its end with rows of
    zeros, whose place is 0. `behind` in `attention_rows.py` tells the question from both.
    `joint`: embeddings in CLIP's joint space of images and text.

    `pixels`: those of the view, for a pruner that runs the vision tower itself.

    Of the vision tower, for a cut after the vision stage or at the language model's input: `tower_hidden` (N, Dt), the
    rows that the projector takes; of the last layer that these rows come from, `tower_keys` (N, dh), the raw keys as
    the mean over heads, and
    `tower_attention` (N,), the attention that the CLS token pays to each token, or, in a tower without it, the mean
    attention that each token receives, as the mean over heads; `tower_last_keys` (N, Dh) and `tower_last_attention`
    (N,), the same of the tower's last layer with all channels as one head; `tower_late` (N, Dh), the mean of the hidden
    states of the last third of the layers, and of the state before them.
    """

    tensor: TensorName
    tokens: TokenGroup = "visual"

    @property
    def name(self) -> str:
        """Returns the name of the input.

        >>> Need("keys").name, Need("query", "last").name
        ('keys', 'query_last')
        """
        return self.tensor if self.tokens == "visual" else f"{self.tensor}_{self.tokens}"


TOWER_TENSORS: tuple[TowerTensorName, ...] = get_args(TowerTensorName)
"""The tensors of the vision tower."""


@dataclass(frozen=True)
class Place:
    """Where a method cuts, and how many tokens it leaves there.

    `keep` None stands for the requested number K; a function takes N, the tokens of the grid, and K.
    """

    at: CutPlace
    keep: int | Callable[[int, int], int] | None = None


PIXELS = Need("pixels")
"""The pixels of the view."""

HIDDEN, KEYS, PLACES = Need("hidden"), Need("keys"), Need("places")
"""The hidden states, keys and places of the visual tokens."""

TEXT_PLACES, LAST_PLACE, ALL_KEYS = Need("places", "text"), Need("places", "last"), Need("keys", "all")
"""The places of the text tokens and of the last token, and the keys of the whole sequence."""


def place_of_layer(settings: object, layer: int) -> tuple[Place, ...]:
    """Returns the place of a method that cuts once: before the layer, which for layer 0 is the model's input."""
    return (Place("layer" if layer else "input"),)


def place_at_input(settings: object, layer: int) -> tuple[Place, ...]:
    """Returns the place of a method that prunes what enters the language model, whatever layer is requested."""
    return (Place("input"),)


def place_after_vision(settings: object, layer: int) -> tuple[Place, ...]:
    """Returns the place of a method that prunes what the vision stage gives, whatever layer is requested."""
    return (Place("vision"),)
