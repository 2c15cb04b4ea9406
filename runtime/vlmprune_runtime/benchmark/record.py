"""The benchmark record: what every runner, on a desktop or a phone, writes and `vlmprune-report` reads.

`schema.json` beside this file is the same as JSON Schema. Fields that a device cannot know are null.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from vlmprune_runtime.benchmark.run_metadata import Count, Device, Engine, Measured, Part, Settings, Tool
from vlmprune_runtime.events import TimedStage

Stage = TimedStage
Ms = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Spread(Part):
    """Median, 90th percentile and least of the repetitions."""

    p50: Ms
    p90: Ms
    min: Ms


class Flops(Part):
    """FLOPs of one prefill and of the first decode step; null where not known. How: `vlmprune_runtime.flops`."""

    vision: Count | None
    head: Count
    tail: Count
    decode: Count


class ModeStats(Part):
    """The bundle pruned, or the same graphs without the prune stage.

    `ttft_ms`: from picture file and question to the first token chosen. `llm_prefill_ms`: head, prune, tail.
    `kv_cache_filled_bytes`: cache rows in use after the last token.
    """

    stages_ms: dict[Stage, Spread]
    llm_prefill_ms: Spread
    ttft_ms: Spread
    decode_ms_per_token: Spread | None
    decode_tokens_per_s: Annotated[float, Field(ge=0)] | None
    flops: Flops | None
    kv_cache_filled_bytes: Count | None


class PairedRatio(Part):
    """Unpruned over pruned time within each pair: the median, and the 10th and 90th percentile."""

    median: Ratio
    p10: Ratio
    p90: Ratio


class Ratios(Part):
    """How many times sooner pruned is, measured."""

    tail: PairedRatio
    llm_prefill: PairedRatio
    ttft: PairedRatio
    decode: PairedRatio | None


class Ceilings(Part):
    """How many times sooner pruned could be, and the share of it that was reached (measured over possible).

    `llm_prefill`, `ttft`: by FLOPs, as if each took the same time in every stage. A share above 1 is no mistake: the
    tail's FLOPs were then dearer than the others'. `ttft_by_time`: by the measured unpruned stage times, with
    only the tail shrunk as its FLOPs do and pruning itself free.
    """

    llm_prefill: Ratio
    llm_prefill_share: Ratio
    ttft: Ratio | None
    ttft_share: Ratio | None
    ttft_by_time: Ratio
    ttft_by_time_share: Ratio


class Memory(Part):
    """Memory of the whole process, other loaded bundles included, as `measure` counts it; null where not known.

    The first runs set the peaks, pruned before unpruned, since engines keep what they once took.
    """

    measure: Literal["rss", "pss", "phys_footprint"]
    before_load_bytes: Count | None
    after_load_bytes: Count | None
    pruned_peak_bytes: Count | None
    unpruned_peak_bytes: Count | None
    kv_cache_allocated_bytes: Count | None


class Run(Part):
    """One repetition as it was measured."""

    round: Count
    pruned: bool
    stages_ms: dict[Stage, Ms]
    ttft_ms: Ms
    decode_ms: tuple[Ms, ...]


class Result(Part):
    """One bundle on one engine."""

    bundle: Measured
    engine: Engine
    images: Count
    prompt_tokens: Count
    load_ms: Ms | None
    unpruned: ModeStats
    pruned: ModeStats
    ratios: Ratios
    ceilings: Ceilings | None
    memory: Memory
    runs: tuple[Run, ...]


class BenchmarkRecord(Part):
    """One measurement of one or more bundles, interleaved, on one device. `created` is UTC, ISO 8601."""

    kind: Literal["benchmark"] = "benchmark"
    record_version: Literal[1] = 1
    created: str
    tool: Tool
    device: Device
    settings: Settings
    results: Annotated[tuple[Result, ...], Field(min_length=1)]


def json_schema() -> dict[str, Any]:
    """The record as JSON Schema."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **BenchmarkRecord.model_json_schema()}
