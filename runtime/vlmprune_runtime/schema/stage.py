"""Describes the stages of a bundle: their tensors and sources, graphs and caches, and how they were lowered."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from vlmprune_runtime.errors import short_repr
from vlmprune_runtime.schema.base import (
    ComputeUnits,
    Dtype,
    FileName,
    ListedName,
    Name,
    Positive,
    Quantisation,
    Record,
    is_package,
)

Role = Literal["vision", "embed", "decoder", "prune"]
"""The role says how a runner runs a stage: `vision` and `prune` once per view, others once for the sequence."""

Phase = Literal["prefill", "decode", "any"]
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


class CacheLayer(Record):
    """Describes the cache of one decoder layer. `full` attends to all tokens, `sliding` to the last `window_tokens`.

    `layer` counts decoder layers of the model from 0.
    """

    layer: Annotated[int, Field(ge=0)]
    kind: Literal["full", "sliding", "convolution"] = "full"
    window_tokens: Positive | None = None


Axis = Literal["layers", "batch", "kv_heads", "capacity", "head_dim"]


class Cache(Record):
    """Describes the KV cache of a stage.

    Owner `caller`: the runner holds a key and a value buffer per layer, laid out as `layout`, zeros at first, and
    gives them as the graph's tensors `inputs`, key then value of each layer in turn; the same buffers take the
    tensors `outputs`. Owner `graph`: the buffers live in the graph, and nothing is passed. Owner `state`: the
    buffers are the Core ML states `states`, keys then values, of all layers of the stage together.
    `capacity_tokens` None leaves the choice to the caller, up to the bundle's `context_tokens`.
    A call with p past tokens and S new ones writes rows p to p + S - 1 and sees rows 0 to p + S - 1, causally.
    """

    owner: Literal["caller", "graph", "state"]
    layers: Annotated[tuple[CacheLayer, ...], Field(min_length=1)]
    kv_heads: Positive
    head_dim: Positive
    dtype: Dtype
    layout: tuple[Axis, ...]
    capacity_tokens: Positive | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    states: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _names_fit_the_owner(self) -> "Cache":
        required = 2 * len(self.layers) if self.owner == "caller" else 0
        for names in (self.inputs, self.outputs):
            if len(set(names)) != required or len(names) != required:
                raise ValueError(f"owner {self.owner} needs {required} distinct names of inputs and of outputs")
        if len(set(self.states)) != (2 if self.owner == "state" else 0) or len(self.states) > 2:
            raise ValueError("owner state needs two distinct states, any other none")
        if self.owner != "caller" and self.capacity_tokens is None:
            raise ValueError(f"owner {self.owner} needs capacity_tokens")
        return self


class FloatWeights(Record):
    """Weights of a quantised stage that its graphs hold in floating point.

    `operator` reads them, `weights` counts them, and `reason` says why they are not quantised.
    """

    operator: str
    weights: Positive
    size_bytes: Positive
    reason: str


class Lowering(Record):
    """Says how a stage was lowered: what a runtime must have to run it, and what stays in floating point.

    `operators` names every kernel that the runtime must register, `delegates` every backend; `delegated_fraction` is
    the fraction of operators that the delegates run, 0 for a target without delegates. `float_weights` is empty for a
    stage that is not quantised. "lowered, not run": the exporting machine could not run it.
    """

    backend: str
    delegates: tuple[str, ...]
    delegated_fraction: Annotated[float, Field(ge=0, le=1)]
    operators: tuple[str, ...]
    status: Literal["runnable", "lowered, not run"]
    float_weights: tuple[FloatWeights, ...] = ()


class Graph(Record):
    """Names one graph of a stage: a file, and in it the method (.pte) or function (.mlpackage) `entry`, None for ONNX.

    `phase` prefill takes a sequence from its start, decode one token behind others, any both. `tokens` is the fixed
    length of the dimension `tokens`, None where it is free or there is none, and `text_tokens` that of the dimension of
    that name. `grid` is the index of the only grid that the graph serves, or of the only mosaic, whose indices count on
    behind those of the grids; None for all. `inputs` are the inputs that it takes, in order, None for all
    of the stage's.
    """

    file: FileName
    entry: Name | None = None
    phase: Phase = "any"
    tokens: Positive | None = None
    text_tokens: Positive | None = None
    grid: Annotated[int, Field(ge=0)] | None = None
    inputs: tuple[Name, ...] | None = None


class Stage(Record):
    """Describes one stage: how it is run, its tensors, its graphs, further files that they read, and its cache.

    A Core ML package is a folder, all of whose files are in `data`; `compute_units` is advice, and
    `compute_units_reason` gives the reason for it.
    """

    role: Role
    inputs: tuple[Input, ...]
    outputs: tuple[Tensor, ...]
    graphs: tuple[Graph, ...] = ()
    data: tuple[ListedName, ...] = ()
    cache: Cache | None = None
    quantisation: Quantisation = "none"
    lowering: Lowering | None = None
    compute_units: ComputeUnits | None = None
    compute_units_reason: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the stage, each once."""
        own = dict.fromkeys(graph.file for graph in self.graphs if not is_package(graph.file))
        return (*own, *(name for name in self.data if name not in own))

    @property
    def graph_files(self) -> tuple[str, ...]:
        """The files or packages that hold the graphs, each once."""
        return tuple(dict.fromkeys(graph.file for graph in self.graphs))

    def output(self, name: str) -> Tensor | None:
        """Returns the output of that name, None if there is none."""
        return next((tensor for tensor in self.outputs if tensor.name == name), None)

    @model_validator(mode="after")
    def _packages_have_files(self) -> "Stage":
        for file in self.graph_files:
            if is_package(file) and f"{file}/Manifest.json" not in self.data:
                raise ValueError(f"data has no {file}/Manifest.json")
        return self

    @model_validator(mode="after")
    def _names_are_distinct(self) -> "Stage":
        for side, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [tensor.name for tensor in tensors]
            if len(set(names)) != len(names):
                raise ValueError(f"two {side} have one name")
        known = {tensor.name for tensor in self.inputs}
        for graph in self.graphs:
            for name in graph.inputs or ():
                if name not in known:
                    raise ValueError(f"a graph takes {short_repr(name)}, which is no input of the stage")
        return self

    @model_validator(mode="after")
    def _the_role_has_its_tensors(self) -> "Stage":
        required = {
            "vision": ("features",),
            "embed": ("embeddings",),
            "prune": ("kept", "fused", "rank"),
            "decoder": (),
        }
        for name in required[self.role]:
            if self.output(name) is None:
                raise ValueError(f"role {self.role} needs the output {short_repr(name)}")
        if self.role == "decoder" and not (self.output("hidden") or self.output("logits")):
            raise ValueError("role decoder needs the output 'hidden' or 'logits'")
        if (self.role == "decoder") != (self.cache is not None):
            raise ValueError("a decoder has a cache, any other stage has none")
        return self
