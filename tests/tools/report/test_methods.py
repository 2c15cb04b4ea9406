"""Accuracy and speed of all methods as one record, one table and one chart."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_tools.methods import __main__ as command
from vlmprune_tools.methods import cells
from vlmprune_tools.methods.cells import Cell, CellFailed, cells_of, measure
from vlmprune_tools.methods.markdown import accuracy_markdown, filled
from vlmprune_tools.methods.record import methods_record
from vlmprune_tools.methods.schema import MethodRow, MethodsRecord, Speed
from vlmprune_tools.report import frontier
from vlmprune_tools.report.frontier import LINE_HEIGHT, best_of, draw_frontier, frontiers, key_of, spaced
from vlmprune_tools.report.page import render_report
from vlmprune_tools.report.reading import Records


def accuracy(method: str, keep: int, right: float) -> dict[str, Any]:
    fields = {"task": "mean", "method": method, "keep": keep, "accuracy": right, "n": 80}
    return fields | {"low": right - 0.1, "high": right + 0.1, "retained_percent": 100 * right / 0.9}


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """Two methods at one rate: the second keeps more tokens of its own, and is surely worse."""
    methods = [
        {"method": "unpruned", "keep": 16, "kept_tokens": 16, "mean_visual_tokens": 16.0},
        {"method": "vlm-pruner", "keep": 4, "kept_tokens": 4, "mean_visual_tokens": 7.0},
        {"method": "saint:place=tower", "keep": 4, "kept_tokens": 7, "mean_visual_tokens": 7.0},
    ]
    rows = [accuracy("unpruned", 16, 0.9), accuracy("vlm-pruner", 4, 0.8), accuracy("saint:place=tower", 4, 0.5)]
    difference = {"method": "saint:place=tower", "keep": 4, "against": "vlm-pruner", "difference": -0.3}
    difference |= {"task": "mean", "low": -0.4, "high": -0.2, "p_value": 0.001}
    record = {
        "kind": "accuracy", "model": "m", "visual_tokens": 16, "data": {"name": "scenes"}, "methods": methods,
        "rows": rows, "differences": [difference], "notes": [],
    }  # fmt: skip
    path = tmp_path / "accuracy.json"
    path.write_text(json.dumps(record))
    return path


def test_cells_have_the_methods_own_number(evaluated: Path) -> None:
    record = json.loads(evaluated.read_text())
    assert cells_of(record, [4], ["onnx:int8"]) == [
        Cell("vlm-pruner", 4, 4, "onnx", "int8"),
        Cell("saint:place=tower", 4, 7, "onnx", "int8"),
    ]
    with pytest.raises(BadRequest, match=r"keeps: got 5; allowed: those of the evaluation, \[4\]"):
        cells_of(record, [5], ["onnx"])


def test_a_cell_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmark_fields: dict[str, Any]
) -> None:
    calls = []

    def call(module: str, *arguments: str) -> None:
        calls.append((module, *arguments))
        if "bench" in module:
            Path(arguments[-1]).write_text(json.dumps(benchmark_fields))
        else:
            Path(arguments[-1]).mkdir()

    monkeypatch.setattr(cells, "_call", call)
    cell = Cell("saint:place=tower", 4, 7, "onnx")
    assert [measure(cell, "pocket", tmp_path, []) for _ in range(2)] == [True, False]
    wanted = "--target onnx --quant none --pruner saint --keep 7 --set place=tower --out"
    assert calls[0][1:-1] == ("pocket", *wanted.split()) and len(calls) == 2
    assert [path.name for path in tmp_path.iterdir()] == [cell.file_name]


def test_a_failed_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(CellFailed, match=r"cli.export none/there .*none/there"):
        measure(Cell("random", 4, 4, "onnx"), "none/there", tmp_path, [])


def test_cells_that_fail_are_counted_and_stop_no_other(
    evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_fails(cell: Cell, *_: object) -> bool:
        if cell.method == "vlm-pruner":
            raise CellFailed("no room")
        return True

    monkeypatch.setattr(cells, "measure", one_fails)
    assert command.main(["measure", str(evaluated), "--keeps", "4", "--out", str(tmp_path / "speed")]) == 1
    shown = capsys.readouterr()
    assert shown.out == "onnx-none-saint+place=tower-4.json: measured\n"
    assert "no room\n" in shown.err and "1 of 2 measurements failed" in shown.err


def test_an_evaluation_without_methods_makes_no_table(evaluated: Path) -> None:
    record = json.loads(evaluated.read_text())
    with pytest.raises(BadRequest, match="the first evaluation has no pruning method"):
        methods_record([record | {"methods": record["methods"][:1]}], [])


def test_the_table_has_both(
    evaluated: Path, tmp_path: Path, benchmark_fields: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    speed = tmp_path / "speed"
    speed.mkdir()
    cell = Cell("saint:place=tower", 4, 7, "onnx")
    (speed / cell.file_name).write_text(json.dumps({"cell": vars(cell), "benchmark": benchmark_fields}))
    out = tmp_path / "methods.json"
    assert command.main(["table", str(evaluated), "--speed", str(speed), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "| `saint:place=tower` | 50.0 [40, 60] **-**; K 7, mean 7 |" in printed
    assert "**onnx fp32, 4 kept**" in printed
    assert "below: `saint:place=tower`; not told apart: none." in printed
    row = MethodsRecord.model_validate_json(out.read_text()).rows[1]
    (result,) = benchmark_fields["results"]
    assert row.apart and row.speeds[0].first_token_fraction == pytest.approx(1 / result["ratios"]["ttft"]["median"])
    stages = result["pruned"]["stages_ms"]
    assert row.speeds[0].selection_ms == pytest.approx(stages["prune"]["p50"], abs=1e-3)


def test_the_first_evaluation_counts_where_two_have_a_rate(evaluated: Path) -> None:
    first = json.loads(evaluated.read_text())
    second = json.loads(evaluated.read_text())
    for row in second["rows"]:
        row["n"] = 9
    second["methods"] += [{"method": "vlm-pruner", "keep": 8, "kept_tokens": 8, "mean_visual_tokens": 10.0}]
    second["rows"] += [accuracy("vlm-pruner", 8, 0.7)]
    rows = {(row.method, row.keep): row for row in methods_record([first, second], []).rows}
    assert rows["vlm-pruner", 4].questions == 80 and rows["vlm-pruner", 8].accuracy == 0.7


def timed(method: str, right: float, fraction: float, keep: int = 4) -> tuple[MethodRow, Speed]:
    speed = Speed(
        engine="onnx fp32", selection_ms=1, first_token_ms=100 * fraction, first_token_unpruned_ms=100,
        first_token_fraction=fraction, fraction_low=fraction * 0.9, fraction_high=fraction * 1.1, stages_ms={},
        flops=None, memory_bytes=None, repetitions=2,
    )  # fmt: skip
    row = MethodRow(
        method=method, keep=keep, kept_tokens=keep, mean_visual_tokens=4, questions=9, accuracy=right,
        low=max(0, right - 0.1), high=min(1, right + 0.1), retained_percent=None, speeds=(speed,),
    )  # fmt: skip
    return row, speed


def test_the_frontier_is_what_none_beats() -> None:
    """b is slower than a and no more accurate; c is slower and more accurate; d ties with a in both."""
    methods = [timed("a", 0.8, 0.3), timed("b", 0.8, 0.4), timed("c", 0.9, 0.5), timed("d", 0.8, 0.3)]
    assert best_of(methods) == {("a", 4), ("c", 4), ("d", 4)}
    drawn = draw_frontier("4 kept", methods, {("b", 4)})
    assert [(point.method, point.label) for point in drawn.points if not point.on_frontier] == [("b", "b")]
    assert {point.label for point in drawn.points if point.on_frontier} == {""}


def record_of(*pairs: tuple[MethodRow, Speed], notes: tuple[str, ...] = ()) -> MethodsRecord:
    return MethodsRecord(
        model="m", visual_tokens=9, task="mean", data="d", against="vlm-pruner", unpruned={"accuracy": 0.9},
        rows=tuple(row for row, _ in pairs), notes=notes,
    )  # fmt: skip


def test_all_rates_have_a_chart_of_their_own() -> None:
    """At 8, b is slower than vlm-pruner at 4 and no better: the common chart has a point of it, and no name."""
    rows = [
        timed("vlm-pruner", 0.7, 0.3),
        timed("b", 0.6, 0.2),
        timed("vlm-pruner", 0.7, 0.5, 8),
        timed("b", 0.7, 0.6, 8),
    ]
    every, most, fewest = frontiers(record_of(*rows))
    assert [chart.title for chart in (every, most, fewest)] == [
        "all rates, onnx fp32", "8 kept, onnx fp32", "4 kept, onnx fp32",
    ]  # fmt: skip
    assert sorted(point.label for point in every.points) == ["", "b, 4", "vlm-pruner, 4", "vlm-pruner, 8"]
    assert [point.label for point in fewest.points] == ["vlm-pruner", "b"]
    page = render_report(Records((), (), (record_of(*rows),)))
    assert page.count("<circle") == 8 and "all rates, onnx fp32" in page and "60 % [54, 66]" in page


def test_the_overview_has_accuracy_and_time() -> None:
    record = record_of(timed("vlm-pruner", 0.7, 0.3), timed("vlm-pruner", 0.8, 0.5, 8), timed("resize", 0.75, 0.2))
    page = "".join(f"<!-- methods: {place} -->\n<!-- end -->\n" for place in ("overview", "first_token", "speed"))
    written = filled(page, record).splitlines()
    assert written[1:6] == [
        "|  | 8 of 9 | 4 of 9 |",
        "|---|---|---|",
        "| `resize` |  | 75.0, 20 |",
        "| `vlm-pruner` | 80.0, 50 | 70.0, 30 |",
        "<!-- end -->",
    ]
    assert "| `resize` | - | 20 |" in written and "| `vlm-pruner` | 50 | 30 |" in written
    assert "<details><summary>onnx fp32, 8 kept</summary>" in written


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.05, 2)), min_size=1, max_size=18))
def test_every_point_and_label_is_inside(places: list[tuple[float, float]]) -> None:
    methods = [timed(f"m{nth}", right, fraction) for nth, (right, fraction) in enumerate(places)]
    drawn = draw_frontier("4 kept", methods, set(map(key_of, methods)))
    for point in drawn.points:
        assert frontier.LEFT <= point.left <= point.x <= point.right <= frontier.RIGHT
        assert frontier.TOP <= point.top <= point.y <= point.bottom <= frontier.BOTTOM
    labels = [point.label_y for point in drawn.points]
    assert all(low - high >= LINE_HEIGHT - 0.11 for high, low in pairwise(labels))
    assert labels[0] > frontier.TOP and labels[-1] <= frontier.HEIGHT


def test_labels_move_apart_and_stay_in_order() -> None:
    assert spaced([280, 283, 283]) == [261, 274.5, 288]


def test_the_most_accurate_is_first() -> None:
    record = record_of(timed("vlm-pruner", 0.7, 0.5), timed("resize", 0.8, 0.5))
    assert accuracy_markdown(record).splitlines()[2].startswith("| `resize` |")


def test_a_page_is_written_at_its_places() -> None:
    row, (other, speed) = timed("vlm-pruner", 0.7, 0.5), timed("resize", 0.8, 0.5)
    better = other.model_copy(
        update={"difference": 0.1, "difference_low": 0.02, "difference_high": 0.2, "p_value": 0.04}
    )
    record = record_of(row, (better, speed), notes=("a note",))
    page = "x\n<!-- methods: verdict 4 -->\nstale\n<!-- end -->\ny\n<!-- methods: notes -->\n<!-- end -->\n"
    written = filled(page, record)
    assert "most accurate `resize` (80.0 %); above `vlm-pruner`: `resize`; below: none" in written
    assert "stale" not in written and "- a note\n<!-- end -->" in written and written.startswith("x\n")
    assert filled(written, record) == written
    for wrong in ("no place", "<!-- methods: colour -->\n<!-- end -->"):
        with pytest.raises((BadRequest, UnknownName)):
            filled(wrong, record)


def test_few_questions_tell_nothing_apart() -> None:
    """Three of thirty lost is an interval without 0, and a sign test of 0.25."""
    row = timed("random", 0.9, 0.5)[0]
    few = row.model_copy(update={"difference": -0.1, "difference_low": -0.2, "difference_high": -0.03, "p_value": 0.25})
    assert not few.apart and few.model_copy(update={"p_value": 0.01}).apart
