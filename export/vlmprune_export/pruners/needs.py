"""The closed vocabulary in which a pruner declares the tensors that it reads and the places where it cuts."""

from dataclasses import dataclass
from typing import Literal

What = Literal["hidden", "keys", "query", "embeddings"]
Of = Literal["visual", "text", "last", "all"]
At = Literal["vision", "input", "layer"]


@dataclass(frozen=True)
class Need:
    """A tensor that a pruner reads, and the tokens whose rows it reads.

    `hidden`: the rows of the residual stream where the cut stands; at the vision stage and at the language model's
    input these are the visual embeddings. `keys` and `query`: those of the decoder layer before the cut, after RoPE,
    all heads side by side. `embeddings`: the embeddings of text.
    """

    what: What
    of: Of = "visual"

    @property
    def name(self) -> str:
        """Returns the name of the input.

        >>> Need("keys").name, Need("query", "last").name
        ('keys', 'query_last')
        """
        return self.what if self.of == "visual" else f"{self.what}_{self.of}"


@dataclass(frozen=True)
class Place:
    """Where a method cuts, and how many tokens it leaves there; `keep` None stands for the requested number."""

    at: At
    keep: int | None = None


HIDDEN, KEYS = Need("hidden"), Need("keys")
"""The hidden states and the keys of the visual tokens."""


def place_of_layer(settings: object, layer: int) -> tuple[Place, ...]:
    """Returns the place of a method that cuts once: before the layer, which for layer 0 is the model's input."""
    return (Place("layer" if layer else "input"),)
