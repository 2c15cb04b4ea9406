"""Lays out the bars of a result as shares of the widest bar."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmprune_runtime.benchmark.record import Memory, ModeStats, Result
from vlmprune_runtime.benchmark.summary import STAGES
from vlmprune_runtime.byte_size import format_bytes
from vlmprune_tools.report.formatting import ms, times


@dataclass(frozen=True)
class Segment:
    """A segment of a bar; `kind` chooses its colour."""

    kind: str
    width_percent: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A named row of segments, followed by a value."""

    name: str
    segments: tuple[Segment, ...]
    value: str


@dataclass(frozen=True)
class Meter:
    """A measured speedup beside its ceiling; widths are shares of the larger of the two."""

    name: str
    measured: str
    possible: str
    share: str
    measured_percent: float
    possible_percent: float


def stage_bar(name: str, mode: ModeStats, widest_ms: float) -> Bar:
    """Returns the time to the first token, with one segment per stage."""
    medians = [(stage, mode.stages_ms[stage].p50) for stage in STAGES if stage in mode.stages_ms]
    segments = [Segment(stage, _share(value, widest_ms), f"{stage} {ms(value)}") for stage, value in medians]
    return Bar(name, tuple(segments), ms(mode.ttft_ms.p50))


def widest_ms(results: Sequence[Result]) -> float:
    """Returns the longest time, which gives all bundles of a device one scale."""
    modes = [mode for result in results for mode in (result.unpruned, result.pruned)]
    return max(max(sum(spread.p50 for spread in mode.stages_ms.values()), mode.ttft_ms.p50) for mode in modes)


def decode_bars(result: Result) -> tuple[Bar, ...]:
    """Returns decode speeds after the first token; none if there was no second token."""
    speeds = (result.unpruned.decode_tokens_per_s, result.pruned.decode_tokens_per_s)
    rows = [(name, speed) for name, speed in zip(("unpruned", "pruned"), speeds, strict=True) if speed]
    return _plain_bars([(name, speed, f"{speed:.1f} tokens/s") for name, speed in rows])


def cache_bars(result: Result) -> tuple[Bar, ...]:
    """Returns the bytes of the KV cache in use after the answer."""
    counts = (result.unpruned.kv_cache_filled_bytes, result.pruned.kv_cache_filled_bytes)
    rows = [(name, count) for name, count in zip(("unpruned", "pruned"), counts, strict=True) if count]
    return _plain_bars([(name, count, format_bytes(count)) for name, count in rows])


def memory_bars(memory: Memory) -> tuple[Bar, ...]:
    """Returns the memory that loading and running added, or the process's size if none was noted before."""
    before = memory.before_load_bytes or 0
    rows = (
        ("peak unpruned", memory.unpruned_peak_bytes),
        ("peak pruned", memory.pruned_peak_bytes),
        ("loaded", memory.after_load_bytes),
    )
    added = [(name, count - before) for name, count in rows if count is not None and count > before]
    return _plain_bars([(name, count, format_bytes(count)) for name, count in added])


def meters(result: Result) -> tuple[Meter, ...]:
    """Returns the speedups beside their ceilings."""
    most, ratios = result.ceilings, result.ratios
    if most is None:
        return ()
    rows = [("LLM prefill, by FLOPs", ratios.llm_prefill.median, most.llm_prefill)]
    if most.ttft:
        rows.append(("First token, by FLOPs", ratios.ttft.median, most.ttft))
    rows.append(("First token, by stage times", ratios.ttft.median, most.ttft_by_time))
    return tuple(meter(*row) for row in rows)


def meter(name: str, measured: float, possible: float) -> Meter:
    """Returns one speedup beside its ceiling.

    >>> bar = meter("first token", 2.0, 3.0)
    >>> bar.measured_percent, bar.possible_percent, bar.share
    (66.67, 100.0, '67 % of the ceiling')
    """
    most = max(measured, possible)
    share = f"{100 * measured / possible:.0f} % of the ceiling"
    widths = (_share(measured, most), _share(possible, most))
    return Meter(name, times(measured), times(possible), share, *widths)


def _plain_bars(rows: Sequence[tuple[str, float, str]]) -> tuple[Bar, ...]:
    most = max((value for _, value, _ in rows), default=1.0)
    return tuple(Bar(name, (Segment(kind_of(name), _share(value, most), name),), text) for name, value, text in rows)


def kind_of(name: str) -> str:
    """Returns the colour of a row by its name.

    >>> kind_of("peak unpruned"), kind_of("pruned"), kind_of("loaded")
    ('unpruned', 'pruned', 'neutral')
    """
    last = name.split()[-1]
    return last if last in ("unpruned", "pruned") else "neutral"


def _share(value: float, most: float) -> float:
    return round(100 * value / most, 2) if most else 0.0
