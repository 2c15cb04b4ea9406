"""Describes the inputs and outputs of a stage, and the sources that inputs come from."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from vlmprune_runtime.schema.base import Dtype, Name, Positive, Record

Dimension = Literal["tokens", "text_tokens"]
"""A free dimension: the tokens of this call, or the text tokens among those of the prompt."""

_STAGE_OUTPUT = r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*(\[(visual|text|last)\])?"
_SEQUENCE = r"sequence\.(rows|positions|past_tokens|last_row|deepstack|views|places\[(visual|text|last)\])"
SourceText = Annotated[str, Field(pattern=rf"^(image\.pixels|prompt\.token_ids|{_SEQUENCE}|{_STAGE_OUTPUT})$")]
"""Where an input comes from.

`image.pixels`: one view of an image. `prompt.token_ids`: the tokens of this call, 0 where a visual token stands.
`sequence.rows`: the embeddings or hidden states of this call's tokens. `sequence.positions`: their positions.
`sequence.past_tokens`: how many tokens the stage's cache holds already. `sequence.last_row`: the index of the last
real token where rows are padded. `sequence.deepstack`: for every token the row of its visual token in the output
`deepstack` of the vision stage, zeros for text. `sequence.views`: the index among the views of this call of the view
that a token belongs to, a negative number for text. `sequence.places[PART]`: the indices of a part's rows in the
sequence as it is now, parts as below. `STAGE.OUTPUT`: an output of a stage that ran before; of a stage that runs on
the sequence, `[visual]` selects the rows of the view that is pruned, `[text]` the rows of text and `[last]` the last
row.
"""


class Tensor(Record):
    """Describes one output of a stage; a string in `shape` names a dynamic dimension.

    Where a stage has a graph per grid, the shape is that on the first grid.
    `graph_shape` is the shape in the graph where that differs from `shape`: leading dimensions of 1 more.
    """

    name: Name
    dtype: Dtype
    shape: tuple[Positive | Dimension, ...]
    graph_shape: tuple[Positive | Dimension, ...] | None = None

    @property
    def in_graph(self) -> tuple[int | str, ...]:
        """The shape of the tensor in the graph."""
        return self.shape if self.graph_shape is None else self.graph_shape


class Input(Tensor):
    """Describes one input of a stage and where it comes from.

    `pad` says how a runner fills a graph of a fixed length with fewer tokens: behind the real ones it puts zeros, or
    copies of the last real value. Attention is causal, so padding changes no real row. The runner removes the rows of
    padding from the outputs, and later tokens overwrite the rows that padding left in a cache.
    """

    source: SourceText
    pad: Literal["zero", "last"] | None = None


class SourceParts(NamedTuple):
    """Holds the parts of a source: stage (or `image`, `prompt`, `sequence`), tensor, and its rows, None for all."""

    stage: str
    tensor: str
    part: str | None


def parse_source(source: str) -> SourceParts:
    """Returns the parts of a source.

    >>> parse_source("head.keys[visual]")
    SourceParts(stage='head', tensor='keys', part='visual')
    """
    stage, tensor = source.split("[")[0].split(".")
    return SourceParts(stage, tensor, source[:-1].split("[")[1] if source.endswith("]") else None)
