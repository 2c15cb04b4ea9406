"""The manifest as a whole: where the weights came from, the pruner, every part, every file."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vlmprune_runtime.errors import UnknownName
from vlmprune_runtime.schema.base import STAGES, FileName, ListedName, Positive, Quantisation, Record, Sha256
from vlmprune_runtime.schema.generation import Generation
from vlmprune_runtime.schema.image import ImageSpec
from vlmprune_runtime.schema.prompt import PromptSpec
from vlmprune_runtime.schema.stage import Stage


class Pruner(Record):
    """What the prune stage does: method, first pruned layer L, N, K and the method's own settings."""

    method: str
    layer: Annotated[int, Field(ge=0)]
    visual_tokens: Positive
    keep: Positive
    mean_visual_tokens: float
    rounding: Literal["round"] = "round"
    positions: Literal["original"] = "original"
    settings: dict[str, Any]

    @model_validator(mode="after")
    def _keep_is_a_part(self) -> "Pruner":
        if self.keep > self.visual_tokens:
            raise ValueError(f"keep {self.keep} is more than visual_tokens {self.visual_tokens}")
        return self


class Source(Record):
    """Where the weights came from."""

    model: str
    revision: str | None = None
    sha256: Sha256 | None = None


class FileEntry(Record):
    """Size and hash of one file."""

    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Memory(Record):
    """Estimated memory of a run, so that a phone can refuse first. All in bytes."""

    weights_bytes: int
    kv_cache_bytes: int
    activations_bytes: int
    peak_bytes: int


class TextModel(Record):
    """Dimensions that FLOP counts and cache sizes follow from."""

    layers: Positive
    hidden_size: Positive
    intermediate_size: Positive
    attention_heads: Positive
    kv_heads: Positive
    head_dim: Positive
    vocab_size: Positive


class Bundle(Record):
    """The manifest. `vision_flops` are those of one image, a multiply-add counted as two; None where not counted."""

    schema_version: Literal[1]
    name: str
    model_type: str
    target: Literal["onnx", "executorch", "coreml"]
    source: Source
    quantisation: Quantisation
    stages: dict[Literal["vision", "embed", "head", "prune", "tail"], Stage]
    tokenizer: FileName = "tokenizer.json"
    image: ImageSpec
    prompt: PromptSpec
    generation: Generation
    pruner: Pruner
    text_model: TextModel
    vision_flops: Positive | None = None
    context_tokens: Positive
    memory: Memory
    versions: dict[str, str]
    files: dict[ListedName, FileEntry]
    parity: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        found = {str(key): stage for key, stage in self.stages.items()}
        if name not in found:
            raise UnknownName("stage", name, found)
        return found[name]

    @model_validator(mode="after")
    def _files_are_listed(self) -> "Bundle":
        wanted = {self.tokenizer}
        for stage in self.stages.values():
            wanted |= set(stage.files)
        missing = sorted(wanted - set(self.files))
        if missing:
            raise ValueError(f"no size and hash for {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _grid_is_the_visual_tokens(self) -> "Bundle":
        grid, tokens = self.image.grid_height * self.image.grid_width, self.pruner.visual_tokens
        if grid != tokens:
            raise ValueError(f"the grid has {grid} places, the pruner {tokens} visual tokens")
        return self

    @model_validator(mode="after")
    def _stages_are_complete(self) -> "Bundle":
        missing = [name for name in STAGES if name not in self.stages]
        if missing:
            raise ValueError(f"no stage {', '.join(missing)}")
        return self
