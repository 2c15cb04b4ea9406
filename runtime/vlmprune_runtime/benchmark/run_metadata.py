"""Defines the parts of a benchmark record that describe its bundles, settings and device."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlmprune_runtime.schema import Sha256

Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Is the base of all parts of a record: parts are frozen and refuse unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tool(Part):
    """Names the program that measured."""

    name: str
    version: str


class Battery(Part):
    """Holds the state of the battery at the start and at the end."""

    level_before_fraction: Fraction | None = None
    level_after_fraction: Fraction | None = None
    charging: bool | None = None


class Thermal(Part):
    """Holds the hottest sensor in degrees Celsius, and the system's own word, such as "nominal" or "throttled"."""

    before_celsius: float | None = None
    after_celsius: float | None = None
    before_state: str | None = None
    after_state: str | None = None


class Device(Part):
    """Describes the device. `load_before` is the one-minute load average, other programs' work included."""

    kind: Literal["desktop", "android", "ios"]
    name: str
    os: str
    cpu: str | None = None
    cores: Count | None = None
    memory_bytes: Count | None = None
    load_before: float | None = None
    thermal: Thermal | None = None
    battery: Battery | None = None


class ImageInfo(Part):
    """Describes the image of the question; `sha256` is the hash of its file."""

    name: str
    sha256: Sha256 | None
    width_px: Count
    height_px: Count


class Settings(Part):
    """Holds the requested settings. Decoding is greedy and ignores stop tokens, so both modes decode as many tokens.

    Of several images `image` is the first and `images` are all. `follow_up` is the further question, null for none.
    `order` "alternating pairs": each round runs both modes of a bundle one directly after the other, and the next
    round reverses their order. `threads` null is the engine's own choice.
    """

    repetitions: Count
    warmups: Count
    tokens: Count
    threads: Count | None
    prompt: str
    image: ImageInfo
    images: tuple[ImageInfo, ...] = ()
    follow_up: str | None = None
    order: Literal["alternating pairs"] = "alternating pairs"


class Engine(Part):
    """Names the engine that ran the graphs; `unit` is "cpu", "gpu", "npu" or the vendor's own word.

    Where not all stages ran on one unit, it names them in turn: "embed CPU_ONLY, vision CPU_AND_NE".
    """

    name: str
    version: str | None
    unit: str = "cpu"


class BundleInfo(Part):
    """Identifies the bundle. `manifest_sha256` stands for all of it, since bundle.json holds every other file's hash.

    `verified` says that those hashes were checked.
    """

    name: str
    folder: str
    manifest_sha256: Sha256
    verified: bool
    source_model: str
    source_sha256: Sha256 | None
    model_type: str
    target: str
    quantisation: str
    method: str
    layer: Count
    visual_tokens: Count
    keep: Count
    versions: dict[str, str]
