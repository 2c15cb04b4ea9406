"""The shape of `bundle.json`: all that a runner needs to know, in one validated, frozen tree."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from vlmprune_runtime.errors import UnknownName

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"
PACKAGE_SUFFIX = ".mlpackage"
STAGES = ("vision", "embed", "head", "prune", "tail")

Dtype = Literal["float32", "float16", "int64", "int32", "uint8", "int8"]
Quantisation = Literal["none", "int8", "int4", "pal4", "8da8w", "8da4w"]
ComputeUnits = Literal["ALL", "CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY"]
Positive = Annotated[int, Field(gt=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Std = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def plain_name(name: str) -> str:
    """`name` itself when it is a plain file name inside the bundle folder.

    >>> plain_name("vision.onnx")
    'vision.onnx'
    >>> plain_name("../secret")
    Traceback (most recent call last):
    ...
    ValueError: '../secret' is not a plain file name
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or ".." in name:
        raise ValueError(f"{name!r} is not a plain file name")
    return name


def listed_name(name: str) -> str:
    """`name` itself when it is a plain file name, or the path of a file inside a `.mlpackage` folder.

    >>> listed_name("head.mlpackage/Data/com.apple.CoreML/weights/weight.bin")
    'head.mlpackage/Data/com.apple.CoreML/weights/weight.bin'
    >>> listed_name("head.mlpackage/../secret")
    Traceback (most recent call last):
    ...
    ValueError: '..' is not a plain file name
    """
    package, *inside = name.split("/")
    if not inside or not is_package(package):
        return plain_name(name)
    for part in (package, *inside):
        plain_name(part)
    return name


def is_package(name: str) -> bool:
    """Whether a stage's file is a folder of files, as Core ML has it."""
    return name.endswith(PACKAGE_SUFFIX)


FileName = Annotated[str, AfterValidator(plain_name)]
ListedName = Annotated[str, AfterValidator(listed_name)]


class Record(BaseModel):
    """Base of all records: frozen, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


class Resize(Record):
    """`shortest_edge`: keep the aspect ratio, the edge in both sizes; `exact`: to height x width."""

    mode: Literal["shortest_edge", "exact"]
    height_px: Positive
    width_px: Positive
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"]

    @model_validator(mode="after")
    def _one_shortest_edge(self) -> "Resize":
        if self.mode == "shortest_edge" and self.height_px != self.width_px:
            raise ValueError("shortest_edge needs height_px and width_px to be that edge both")
        return self


class Size(Record):
    """Height and width in pixels."""

    height_px: Positive
    width_px: Positive


class ImageSpec(Record):
    """RGB -> resize -> centre crop -> pad -> x * rescale -> (x - mean) / std, channels first."""

    resize: Resize | None
    crop: Size | None
    rescale: Finite
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Std, Std, Std]
    grid_height: Positive
    grid_width: Positive

    @property
    def seen(self) -> Size | None:
        """Size of every picture after preprocessing, None where it depends on the picture."""
        if self.crop or self.resize is None or self.resize.mode != "exact":
            return self.crop
        return Size(height_px=self.resize.height_px, width_px=self.resize.width_px)


class PromptSpec(Record):
    """How a question becomes token ids.

    `template` holds `image_token` once per image and `{prompt}` once; the whole text is tokenized at once
    and every image token is then repeated `visual_tokens` times.
    """

    template: str
    image_token: str
    image_token_id: Annotated[int, Field(ge=0)]
    add_special_tokens: bool
    stop_token_ids: tuple[int, ...]

    @model_validator(mode="after")
    def _template_has_both_places(self) -> "PromptSpec":
        if not self.image_token or self.image_token not in self.template:
            raise ValueError("template has no place for an image")
        if self.template.count("{prompt}") != 1:
            raise ValueError("template needs {prompt} once")
        return self


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
