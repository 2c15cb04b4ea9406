"""Defines the benchmark record, which every runner on a desktop or a phone writes and `vlmprune-report` reads.

`schema.json` beside this file is its JSON Schema. Fields that a device cannot know are null.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from vlmprune_runtime.benchmark.run_metadata import BundleInfo, Count, Device, Engine, Part, Settings, Tool
from vlmprune_runtime.events import TimedStage

Stage = TimedStage
Ms = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Spread(Part):
    """Holds the median, the 90th percentile and the least time of the repetitions."""

    p50: Ms
    p90: Ms
    min: Ms


class Flops(Part):
    """Holds the FLOPs of one prefill and of the first decode step, as `vlmprune_runtime.flops` counts them.

    A count is null where it is not known.
    """

    vision: Count | None
    head: Count
    tail: Count
    decode: Count


class ModeStats(Part):
    """Holds the statistics of one mode: the bundle pruned, or the same graphs without the prune stages.

    `ttft_ms` runs from the image file and the question to the choice of the first token. `llm_prefill_ms` is the
    sum of the prune stages and the decoder stages. `follow_up_ms` runs from a further question behind the answer, the
    last token of which is run with it, to the choice of the next first token; null if none was asked.
    `kv_cache_filled_bytes` counts the cache rows in use after the last token of the answer.
    """

    stages_ms: dict[Stage, Spread]
    llm_prefill_ms: Spread
    ttft_ms: Spread
    decode_ms_per_token: Spread | None
    decode_tokens_per_s: Annotated[float, Field(ge=0)] | None
    follow_up_ms: Spread | None = None
    flops: Flops | None
    kv_cache_filled_bytes: Count | None


class PairedRatio(Part):
    """Holds the median and the 10th and 90th percentile of the ratios of unpruned to pruned time within each pair."""

    median: Ratio
    p10: Ratio
    p90: Ratio


class Ratios(Part):
    """Holds how many times faster the pruned runs were measured to be."""

    tail: PairedRatio
    llm_prefill: PairedRatio
    ttft: PairedRatio
    decode: PairedRatio | None
    follow_up: PairedRatio | None = None


class Ceilings(Part):
    """Holds how many times faster pruned runs could be, and which share of it they reached (measured over possible).

    `llm_prefill` and `ttft` follow from the FLOPs, as if a FLOP took the same time in every stage. A share above 1 is
    no mistake: a FLOP of the tail then took longer than a FLOP elsewhere. `ttft_by_time` follows from the measured
    unpruned stage times, if only the tail shrank in proportion to its FLOPs and pruning itself took no time.
    """

    llm_prefill: Ratio
    llm_prefill_share: Ratio
    ttft: Ratio | None
    ttft_share: Ratio | None
    ttft_by_time: Ratio
    ttft_by_time_share: Ratio


class Memory(Part):
    """Holds the memory of the whole process, other loaded bundles included, as `measure` counts it.

    A size is null where it is not known. The first runs set the peaks, the pruned run before the unpruned one, since
    engines do not give memory back.
    """

    measure: Literal["rss", "pss", "phys_footprint"]
    before_load_bytes: Count | None
    after_load_bytes: Count | None
    pruned_peak_bytes: Count | None
    unpruned_peak_bytes: Count | None
    kv_cache_allocated_bytes: Count | None


class Run(Part):
    """Holds the times of one repetition."""

    round: Count
    pruned: bool
    stages_ms: dict[Stage, Ms]
    ttft_ms: Ms
    decode_ms: tuple[Ms, ...]
    follow_up_ms: Ms | None = None


class Result(Part):
    """Holds the measurements of one bundle on one engine.

    `follow_up_tokens` are run for the further question; null if none was asked.
    """

    bundle: BundleInfo
    engine: Engine
    images: Count
    prompt_tokens: Count
    follow_up_tokens: Count | None = None
    load_ms: Ms | None
    unpruned: ModeStats
    pruned: ModeStats
    ratios: Ratios
    ceilings: Ceilings | None
    memory: Memory
    runs: tuple[Run, ...]


class BenchmarkRecord(Part):
    """Holds one interleaved measurement of one or more bundles on one device. `created` is UTC, ISO 8601."""

    kind: Literal["benchmark"] = "benchmark"
    record_version: Literal[1] = 1
    created: str
    tool: Tool
    device: Device
    settings: Settings
    results: Annotated[tuple[Result, ...], Field(min_length=1)]


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of the record."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **BenchmarkRecord.model_json_schema()}
