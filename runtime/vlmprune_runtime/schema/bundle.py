"""Describes the manifest as a whole: the origin of the weights, the pruner, every part and every file."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from vlmprune_runtime.errors import comma_list
from vlmprune_runtime.schema.base import MINOR, FileName, ListedName, Positive, Quantisation, Record, Sha256
from vlmprune_runtime.schema.generation import Generation
from vlmprune_runtime.schema.image import ImageSpec
from vlmprune_runtime.schema.pipeline import Pipeline
from vlmprune_runtime.schema.prompt import PromptSpec


class SchemaVersion(Record):
    """Holds the version of the form. A reader refuses another `major`, and ignores what a higher `minor` adds."""

    major: Literal[2] = 2
    minor: Annotated[int, Field(ge=0)] = MINOR


class Pruner(Record):
    """Names the pruning method of the cuts, and holds its settings."""

    method: str
    positions: Literal["original"] = "original"
    settings: dict[str, Any]


class Source(Record):
    """Says where the weights came from."""

    model: str
    revision: str | None = None
    sha256: Sha256 | None = None


class FileEntry(Record):
    """Holds the size and the hash of one file."""

    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class ExportSettings(Record):
    """Settings of the export that the other fields do not tell.

    `fit` says how 4-bit weights were found: "gptq" fits them to what the layers see, "none" takes the nearest values;
    it is None where there are none. `options` are the target's own.
    """

    fit: Literal["gptq", "none"] | None = None
    options: dict[str, str] = Field(default_factory=dict)


class Memory(Record):
    """Estimates the memory of a run in bytes, so that a phone can refuse a bundle before it loads it."""

    weights_bytes: int
    kv_cache_bytes: int
    activations_bytes: int
    peak_bytes: int


class TextModel(Record):
    """Holds the dimensions of the language model, from which FLOP counts and cache sizes follow."""

    layers: Positive
    hidden_size: Positive
    intermediate_size: Positive
    attention_heads: Positive
    kv_heads: Positive
    head_dim: Positive
    vocab_size: Positive


class Bundle(Pipeline):
    """Holds the manifest: the pipeline, and all else that a runner needs.

    Where `pruned_image` is there, images are prepared by these steps instead of `image` in the pruned mode: they are
    smaller, and lie on a smaller one of the grids.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    version: SchemaVersion = Field(alias="schema")
    name: str
    model_type: str
    target: Literal["onnx", "executorch", "coreml"]
    source: Source
    quantisation: Quantisation
    tokenizer: FileName = "tokenizer.json"
    image: ImageSpec
    pruned_image: ImageSpec | None = None
    prompt: PromptSpec
    generation: Generation
    pruner: Pruner
    text_model: TextModel
    context_tokens: Positive
    memory: Memory
    versions: dict[str, str]
    export: ExportSettings = ExportSettings()
    files: dict[ListedName, FileEntry]
    parity: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _images_fit_the_grid(self) -> "Bundle":
        seen, grid = self.image.view_size, self.grids[0]
        if len(self.grids) == 1 and seen and (seen.height_px, seen.width_px) != (grid.height_px, grid.width_px):
            raise ValueError(f"images become {seen.height_px} x {seen.width_px} px, the grid is of another size")
        small = self.pruned_image and self.pruned_image.view_size
        if small and all((grid.height_px, grid.width_px) != (small.height_px, small.width_px) for grid in self.grids):
            raise ValueError(f"pruned images become {small.height_px} x {small.width_px} px, which no grid has")
        return self

    def image_steps(self, *, prune: bool) -> ImageSpec:
        """Returns the steps that prepare images in the pruned or the unpruned mode."""
        return self.pruned_image if prune and self.pruned_image else self.image

    @model_validator(mode="after")
    def _files_are_listed(self) -> "Bundle":
        required = {self.tokenizer}
        for name, stage in self.stages.items():
            if not stage.graphs:
                raise ValueError(f"stage {name} has no graph")
            required |= set(stage.files)
        missing = sorted(required - set(self.files))
        if missing:
            raise ValueError(f"no size and hash for {comma_list(missing)}")
        return self
