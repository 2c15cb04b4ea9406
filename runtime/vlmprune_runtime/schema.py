"""The shape of `bundle.json`: all that a runner needs to know, in one validated, frozen tree."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"
STAGES = ("vision", "embed", "head", "prune", "tail")

Dtype = Literal["float32", "float16", "int64", "int32", "uint8", "int8"]
Quantisation = Literal["none", "int8", "int4"]
Positive = Annotated[int, Field(gt=0)]
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


FileName = Annotated[str, AfterValidator(plain_name)]


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


class Stage(Record):
    """One graph: its file, further weight files it reads, its tensors and its cache."""

    file: FileName
    data: tuple[FileName, ...] = ()
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    cache: Cache | None = None
    quantisation: Quantisation = "none"


class Resize(Record):
    """`shortest_edge`: keep the aspect ratio; `exact`: to height x width; `none`: leave the size."""

    mode: Literal["shortest_edge", "exact"]
    height_px: Positive
    width_px: Positive
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"]


class Size(Record):
    """Height and width in pixels."""

    height_px: Positive
    width_px: Positive


class ImageSpec(Record):
    """Preprocessing: RGB -> resize -> centre crop -> pad -> x * rescale -> (x - mean) / std, channels first."""

    resize: Resize | None
    crop: Size | None
    rescale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    grid_height: Positive
    grid_width: Positive


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
    """The manifest."""

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
    context_tokens: Positive
    memory: Memory
    versions: dict[str, str]
    files: dict[FileName, FileEntry]
    parity: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _files_are_listed(self) -> "Bundle":
        wanted = {self.tokenizer}
        for stage in self.stages.values():
            wanted |= {stage.file, *stage.data}
        missing = sorted(wanted - set(self.files))
        if missing:
            raise ValueError(f"no size and hash for {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _stages_are_complete(self) -> "Bundle":
        missing = [name for name in STAGES if name not in self.stages]
        if missing:
            raise ValueError(f"no stage {', '.join(missing)}")
        return self
