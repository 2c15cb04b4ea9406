"""Bars and charts lie where the numbers say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmprune_runtime.benchmark.record import BenchmarkRecord, Memory
from vlmprune_tools.report import line_charts
from vlmprune_tools.report.accuracy import AccuracyRecord
from vlmprune_tools.report.bars import memory_bars, meter, stage_bar, widest_ms

shares = st.floats(0, 1)


@given(st.lists(st.tuples(shares, shares, shares), min_size=1, max_size=12))
def test_every_interval_is_inside_the_axes(intervals: list[tuple[float, float, float]]) -> None:
    rows = [
        {"task": "t", "method": "m", "keep": keep + 1, "accuracy": mid, "low": low, "high": high, "n": 1}
        | {"retained_percent": None}
        for keep, (low, mid, high) in enumerate(map(sorted, intervals))
    ]
    record = AccuracyRecord.model_validate({"kind": "accuracy", "model": "m", "visual_tokens": 20, "rows": rows})
    (chart,) = line_charts.draw_charts(record)
    (line,) = chart.lines
    heights = [tick.at for tick in chart.grid]
    assert (heights[0], heights[-1]) == (line_charts.BOTTOM, line_charts.TOP)
    assert heights == sorted(heights, reverse=True)
    assert len(heights) <= line_charts.MOST_GRID_LINES + 3
    for point in line.points:
        assert line_charts.TOP <= point.top <= point.y <= point.bottom <= line_charts.BOTTOM
        assert line_charts.LEFT < point.x < line_charts.RIGHT


def test_accuracy_lies_between_its_grid_lines(accuracy_fields: dict[str, Any]) -> None:
    """Intervals reach from .65 to .95: the axis from 65 % to 95 % by fives."""
    chart, reading = line_charts.draw_charts(AccuracyRecord.model_validate(accuracy_fields))
    assert [tick.label for tick in chart.grid] == [f"{share} %" for share in (65, 70, 75, 80, 85, 90, 95)]
    ours, random = chart.lines
    assert [line.method for line in chart.lines] == ["vlm-pruner", "random"]
    assert random.points[0].y == pytest.approx(chart.grid[1].at, abs=0.1)
    assert chart.unpruned.y == pytest.approx(chart.grid[5].at, abs=0.1)
    assert ours.points[0].y < random.points[0].y
    assert [(tick.label, tick.below) for tick in chart.rates] == [("88.9 %", "64 kept"), ("94.4 %", "32 kept")]
    assert [line.mark for line in reading.lines] == [ours.mark]


def test_stage_bars_share_one_scale(benchmark_fields: dict[str, Any]) -> None:
    (result,) = BenchmarkRecord.model_validate(benchmark_fields).results
    widest = widest_ms([result])
    for name in ("unpruned", "pruned"):
        way = getattr(result, name)
        bar = stage_bar(name, way, widest)
        assert [segment.kind for segment in bar.segments] == list(way.stages_ms)
        for segment in bar.segments:
            assert segment.width_percent == pytest.approx(100 * way.stages_ms[segment.kind].p50 / widest, abs=0.01)
        assert sum(segment.width_percent for segment in bar.segments) <= 100.1


def test_a_ceiling_that_was_passed() -> None:
    bar = meter("x", 4.0, 3.0)
    assert (bar.measured_percent, bar.possible_percent) == (100.0, 75.0)
    assert bar.share == "133 % of the ceiling"


def test_memory_is_what_was_added() -> None:
    memory = Memory(
        measure="rss",
        before_load_bytes=100,
        after_load_bytes=300,
        pruned_peak_bytes=400,
        unpruned_peak_bytes=500,
        kv_cache_allocated_bytes=None,
    )
    bars = {bar.name: bar for bar in memory_bars(memory)}
    assert {name: bar.value for name, bar in bars.items()} == {
        "peak unpruned": "400 B",
        "peak pruned": "300 B",
        "loaded": "200 B",
    }
    assert bars["loaded"].segments[0].width_percent == 50
