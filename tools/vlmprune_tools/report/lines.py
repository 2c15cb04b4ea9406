"""Accuracy against the pruning rate as line charts, one a task, laid out in SVG units."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from vlmprune_tools.report.accuracy import UNPRUNED, AccuracyRecord, AccuracyRow
from vlmprune_tools.report.wording import percent

WIDTH, HEIGHT = 360, 232
LEFT, RIGHT, TOP, BOTTOM = 42, 348, 12, 186
MARKS = 6  # colours and shapes that the page has
GRID_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
MOST_GRID_LINES = 6
ROUNDING = 1e-9
DODGE = 4.0  # methods stand side by side at a rate, so that intervals stay apart


@dataclass(frozen=True)
class Point:
    """A measured accuracy with its interval."""

    x: float
    y: float
    top: float
    bottom: float
    label: str


@dataclass(frozen=True)
class Line:
    """One method; `mark` chooses colour and shape."""

    method: str
    mark: int
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The points as SVG wants them."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


@dataclass(frozen=True)
class Tick:
    """A place on an axis and its words, of which `below` is a second line."""

    at: float
    label: str
    below: str = ""


@dataclass(frozen=True)
class Chart:
    """One task."""

    task: str
    questions: int
    lines: tuple[Line, ...]
    unpruned: Point | None
    rates: tuple[Tick, ...]
    grid: tuple[Tick, ...]


def charts(record: AccuracyRecord) -> tuple[Chart, ...]:
    """One chart a task, in the record's order; methods look the same in all of them."""
    methods = methods_of(record.rows)
    return tuple(_chart(record, task, methods) for task in dict.fromkeys(row.task for row in record.rows))


def methods_of(rows: Sequence[AccuracyRow]) -> list[str]:
    """Pruners in the order they come."""
    return [method for method in dict.fromkeys(row.method for row in rows) if method != UNPRUNED]


def _chart(record: AccuracyRecord, task: str, methods: Sequence[str]) -> Chart:
    rows = [row for row in record.rows if row.task == task]
    keeps = sorted({row.keep for row in rows if row.method != UNPRUNED}, reverse=True)
    scale = Scale.of(rows)
    places = dict(zip(keeps, spaced(len(keeps)), strict=True))
    lines = [_line(rows, method, methods, places, scale) for method in methods]
    whole = next((row for row in rows if row.method == UNPRUNED), None)
    rates = [Tick(places[keep], percent(1 - keep / record.visual_tokens), f"{keep} kept") for keep in keeps]
    return Chart(
        task=task,
        questions=max(row.n for row in rows),
        lines=tuple(line for line in lines if line.points),
        unpruned=_point(whole, (LEFT + RIGHT) / 2, scale) if whole else None,
        rates=tuple(rates),
        grid=scale.grid(),
    )


def _line(
    rows: Sequence[AccuracyRow], method: str, methods: Sequence[str], places: dict[int, float], scale: "Scale"
) -> Line:
    nth = methods.index(method)
    aside = (nth - (len(methods) - 1) / 2) * DODGE
    mine = sorted((row for row in rows if row.method == method), key=lambda row: -row.keep)
    return Line(method, nth % MARKS, tuple(_point(row, places[row.keep] + aside, scale) for row in mine))


def _point(row: AccuracyRow, x: float, scale: "Scale") -> Point:
    label = f"{row.method}, {row.keep} kept: {percent(row.accuracy)} ({percent(row.low)} to {percent(row.high)})"
    return Point(round(x, 1), scale.y(row.accuracy), scale.y(row.high), scale.y(row.low), label)


def spaced(count: int) -> list[float]:
    """Places of the rates, at equal distances whatever the rates are.

    >>> spaced(1), len(spaced(4))
    ([195.0], 4)
    """
    step = (RIGHT - LEFT) / max(count, 1)
    return [LEFT + step * (nth + 0.5) for nth in range(count)]


@dataclass(frozen=True)
class Scale:
    """The accuracies of an axis, on grid lines at both ends."""

    low: float
    high: float
    step: float

    @staticmethod
    def of(rows: Sequence[AccuracyRow]) -> "Scale":
        """The least that holds all intervals with few grid lines."""
        low, high = min(min(row.low, row.accuracy) for row in rows), max(max(row.high, row.accuracy) for row in rows)
        step = next((step for step in GRID_STEPS if (high - low) / step <= MOST_GRID_LINES + ROUNDING), GRID_STEPS[-1])
        bottom, top = floor(low / step + ROUNDING) * step, ceil(high / step - ROUNDING) * step
        return Scale(bottom, max(top, bottom + step), step)

    def y(self, accuracy: float) -> float:
        """Where an accuracy lies; up is less."""
        return round(BOTTOM - (BOTTOM - TOP) * (accuracy - self.low) / (self.high - self.low), 1)

    def grid(self) -> tuple[Tick, ...]:
        """All lines from low to high."""
        count = round((self.high - self.low) / self.step)
        values = [self.low + nth * self.step for nth in range(count + 1)]
        return tuple(Tick(self.y(value), f"{100 * value:.0f} %") for value in values)
