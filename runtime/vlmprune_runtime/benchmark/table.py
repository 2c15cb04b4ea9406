"""Builds the table of a result for a terminal, and the lines around it."""

from collections.abc import Iterator

from rich.table import Table

from vlmprune_runtime.benchmark.record import BenchmarkRecord, PairedRatio, Result, Spread
from vlmprune_runtime.benchmark.summary import STAGES
from vlmprune_runtime.byte_size import format_bytes

COLUMNS = ("", "unpruned p50", "p90", "min", "pruned p50", "p90", "min", "ratio", "GFLOP", "pruned")
GIGA = 1e9
LONG_MS = 10_000  # from here on tenths say nothing, and take room


def result_table(result: Result) -> Table:
    """Returns the times in milliseconds, the ratios as medians over the pairs, and the FLOPs beside them."""
    bundle, engine = result.bundle, result.engine
    title = f"{bundle.folder}: {bundle.method}, {bundle.keep} of {bundle.visual_tokens}; {engine.name} {engine.version}"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for stage in STAGES:
        slow, fast = result.unpruned.stages_ms.get(stage), result.pruned.stages_ms.get(stage)
        if slow is None and fast is None:
            continue
        ratio = result.ratios.tail if stage == "tail" else None
        table.add_row(f"{stage}, ms", *_cells(slow), *_cells(fast), _times(ratio), *_flops(result, stage))
    table.add_section()
    for row in _totals(result):
        table.add_row(*row)
    return table


def closing_lines(result: Result) -> Iterator[str]:
    """Yields lines that compare the speedups with their ceilings, and lines on the memory."""
    most, ratios = result.ceilings, result.ratios
    if most:
        yield _reached("LLM prefill", ratios.llm_prefill.median, most.llm_prefill, "the FLOPs allow")
        if most.ttft:
            yield _reached("first token", ratios.ttft.median, most.ttft, "the FLOPs allow")
        yield _reached("first token", ratios.ttft.median, most.ttft_by_time, "a tail shrunk by its FLOPs allows")
    caches = (result.unpruned.kv_cache_filled_bytes, result.pruned.kv_cache_filled_bytes)
    yield f"KV cache filled: unpruned {_size(caches[0])}, pruned {_size(caches[1])}"
    memory = result.memory
    loaded = f"before loading {_size(memory.before_load_bytes)}, loaded {_size(memory.after_load_bytes)}"
    peaks = f"peak pruned {_size(memory.pruned_peak_bytes)}, then unpruned {_size(memory.unpruned_peak_bytes)}"
    yield f"process {memory.measure}: {loaded}, {peaks}"


def setting_line(record: BenchmarkRecord) -> str:
    """Returns a line on the settings of the measurement and on the state of the device."""
    settings, device = record.settings, record.device
    threads = "one thread per core" if settings.threads is None else f"{settings.threads} threads"
    count = f"{settings.repetitions} pairs after {settings.warmups} warm-ups, {settings.tokens} tokens each"
    heat = device.thermal.after_celsius if device.thermal else None
    outside = [f"load {device.load_before:.1f}" if device.load_before is not None else "", f"{heat} C" if heat else ""]
    return "; ".join([count, threads, f"{device.name}, {device.cores} cores", *filter(None, outside)])


def _totals(result: Result) -> Iterator[tuple[str, ...]]:
    slow, fast, ratios = result.unpruned, result.pruned, result.ratios
    flops = [mode.flops.head + mode.flops.tail if mode.flops else None for mode in (slow, fast)]
    prefill = (*_cells(slow.llm_prefill_ms), *_cells(fast.llm_prefill_ms))
    yield ("LLM prefill, ms", *prefill, _times(ratios.llm_prefill), *map(_giga, flops))
    yield ("first token, ms", *_cells(slow.ttft_ms), *_cells(fast.ttft_ms), _times(ratios.ttft), "", "")
    steps = (*_cells(slow.decode_ms_per_token), *_cells(fast.decode_ms_per_token))
    yield ("then a token, ms", *steps, _times(ratios.decode), *_flops(result, "decode"))
    further = (*_cells(slow.follow_up_ms), *_cells(fast.follow_up_ms))
    if slow.follow_up_ms or fast.follow_up_ms:
        yield ("follow-up, ms", *further, _times(ratios.follow_up), "", "")
    speeds = [f"{mode.decode_tokens_per_s:.1f}" if mode.decode_tokens_per_s else "-" for mode in (slow, fast)]
    yield ("then, tokens/s", speeds[0], "", "", speeds[1], "", "", "", "", "")


def _cells(spread: Spread | None) -> tuple[str, str, str]:
    if spread is None:
        return ("-", "", "")
    return (_ms(spread.p50), _ms(spread.p90), _ms(spread.min))


def _ms(time_ms: float) -> str:
    return f"{time_ms:.1f}" if time_ms < LONG_MS else f"{time_ms:.0f}"


def _times(ratio: PairedRatio | None) -> str:
    return f"{ratio.median:.2f}x" if ratio else ""


def _flops(result: Result, stage: str) -> tuple[str, str]:
    slow, fast = (_giga(getattr(mode.flops, stage, None)) for mode in (result.unpruned, result.pruned))
    return slow, fast


def _giga(flops: int | None) -> str:
    return "" if flops is None else f"{float(f'{flops / GIGA:.3g}'):g}"


def _reached(name: str, measured: float, possible: float, limit: str) -> str:
    return f"{name}: {measured:.2f}x measured, {possible:.2f}x is what {limit}: {measured / possible:.0%} of it"


def _size(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else format_bytes(size_bytes)
