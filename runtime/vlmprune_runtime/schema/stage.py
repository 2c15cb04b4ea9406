"""The stages of a bundle: files, tensors, caches, and how a target lowered them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlmprune_runtime.schema.base import (
    ComputeUnits,
    Dtype,
    FileName,
    ListedName,
    Positive,
    Quantisation,
    Record,
    is_package,
)


class Tensor(Record):
    """One input or output of a stage; a string in `shape` names a dynamic dimension."""

    name: str
    dtype: Dtype
    shape: tuple[Positive | str, ...]


class Cache(Record):
    """KV cache of a stage: per layer a key and a value buffer (1, kv_heads, capacity, head_dim).

    `inputs` and `outputs` name the graph's tensors, key then value of each layer in turn.
    """

    layers: Annotated[int, Field(ge=0)]
    kv_heads: Positive
    head_dim: Positive
    dtype: Dtype
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @model_validator(mode="after")
    def _two_tensors_a_layer(self) -> "Cache":
        for names in (self.inputs, self.outputs):
            if len(set(names)) != 2 * self.layers or len(names) != 2 * self.layers:
                raise ValueError(f"{self.layers} layers need {2 * self.layers} names of inputs and of outputs")
        return self


class Lowering(Record):
    """How a stage was divided between delegates and the runtime's own kernels.

    `operators` is every kernel that the runtime must register, `delegates` every backend; `delegated_fraction` the
    share of operators that the delegates took. "lowered, not run": no machine at hand could run it.
    """

    backend: str
    delegates: tuple[str, ...]
    delegated_fraction: Annotated[float, Field(ge=0, le=1)]
    operators: tuple[str, ...]
    status: Literal["runnable", "lowered, not run"]


class Function(Record):
    """One function of a Core ML package; `tokens` is its fixed length, None where the stage has but one.

    A prefill takes a sequence from its start; a decode one token behind `slot` others.
    """

    name: str
    phase: Literal["prefill", "decode", "any"]
    tokens: Positive | None = None


class Stage(Record):
    """One graph: its file, further weight files it reads, its tensors and its cache.

    A target with one file for all stages has a method of the stage's name in it, and keeps the caches inside.
    A Core ML package is a folder, all of whose files are in `data`; `compute_units` is advice, and why.
    """

    file: FileName
    data: tuple[ListedName, ...] = ()
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    cache: Cache | None = None
    quantisation: Quantisation = "none"
    lowering: Lowering | None = None
    functions: tuple[Function, ...] = ()
    compute_units: ComputeUnits | None = None
    compute_units_reason: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the stage."""
        return self.data if is_package(self.file) else (self.file, *self.data)

    @model_validator(mode="after")
    def _packages_have_files(self) -> "Stage":
        if is_package(self.file) and f"{self.file}/Manifest.json" not in self.data:
            raise ValueError(f"data has no {self.file}/Manifest.json")
        return self
