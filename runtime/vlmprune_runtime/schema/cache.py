"""Describes the KV cache of a stage: its layers, its layout, and who holds it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlmprune_runtime.schema.base import Dtype, Name, Positive, Record


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
