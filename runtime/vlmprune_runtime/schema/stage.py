"""Describes the stages of a bundle: their roles, their graphs, and how they were lowered."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlmprune_runtime.errors import short_repr
from vlmprune_runtime.schema.base import (
    ComputeUnits,
    FileName,
    ListedName,
    Name,
    Positive,
    Quantisation,
    Record,
    is_package,
)
from vlmprune_runtime.schema.cache import Cache
from vlmprune_runtime.schema.tensor import Input, Tensor

Role = Literal["vision", "embed", "decoder", "prune"]
"""The role says how a runner runs a stage: `vision` and `prune` once per view, others once for the sequence."""

Phase = Literal["prefill", "decode", "any"]


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

    `phase` prefill takes a sequence from its start, decode tokens behind others, any both. `tokens` is the fixed
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
