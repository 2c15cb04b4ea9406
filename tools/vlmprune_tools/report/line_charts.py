"""Lays out accuracy against the pruning rate as line charts in SVG units, one per task."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from vlmprune_tools.methods.schema import MethodRow
from vlmprune_tools.report.accuracy import UNPRUNED, AccuracyRecord, AccuracyRow
from vlmprune_tools.report.formatting import percent

WIDTH, HEIGHT = 360, 232
LEFT, RIGHT, TOP, BOTTOM = 42, 348, 12, 186
MARKS = 6  # the page's number of colours and shapes
GRID_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
MOST_GRID_LINES = 6
ROUNDING = 1e-9
DODGE = 4.0  # distance of methods at one rate, which keeps their intervals apart


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
    """The line of one method; `mark` chooses colour and shape."""

    method: str
    mark: int
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """Returns the points as SVG writes them."""
        return " ".join(f"{point.x},{point.y}" for point in self.points)


@dataclass(frozen=True)
class Tick:
    """A position on an axis and its label, with a second line `below`."""

    at: float
    label: str
    below: str = ""


@dataclass(frozen=True)
class Chart:
    """The chart of one task."""

    task: str
    questions: int
    lines: tuple[Line, ...]
    unpruned: Point | None
    rates: tuple[Tick, ...]
    grid: tuple[Tick, ...]


def draw_charts(record: AccuracyRecord) -> tuple[Chart, ...]:
    """Returns one chart per task, in the record's order; a method looks the same in all of them."""
    methods = methods_of(record.rows)
    return tuple(_chart(record, task, methods) for task in dict.fromkeys(row.task for row in record.rows))


def methods_of(rows: Sequence[AccuracyRow]) -> list[str]:
    """Returns the pruners in order of first appearance."""
    return [method for method in dict.fromkeys(row.method for row in rows) if method != UNPRUNED]


def _chart(record: AccuracyRecord, task: str, methods: Sequence[str]) -> Chart:
    rows = [row for row in record.rows if row.task == task]
    keeps = sorted({row.keep for row in rows if row.method != UNPRUNED}, reverse=True)
    scale = Scale.of(rows)
    positions = dict(zip(keeps, evenly_spaced(len(keeps)), strict=True))
    lines = [_line(rows, method, methods, positions, scale) for method in methods]
    whole = next((row for row in rows if row.method == UNPRUNED), None)
    rates = [Tick(positions[keep], percent(1 - keep / record.visual_tokens), f"{keep} kept") for keep in keeps]
    return Chart(
        task=task,
        questions=max(row.n for row in rows),
        lines=tuple(line for line in lines if line.points),
        unpruned=_point(whole, (LEFT + RIGHT) / 2, scale) if whole else None,
        rates=tuple(rates),
        grid=scale.grid(),
    )


def _line(
    rows: Sequence[AccuracyRow], method: str, methods: Sequence[str], positions: dict[int, float], scale: "Scale"
) -> Line:
    index = methods.index(method)
    offset = (index - (len(methods) - 1) / 2) * DODGE
    mine = sorted((row for row in rows if row.method == method), key=lambda row: -row.keep)
    return Line(method, index % MARKS, tuple(_point(row, positions[row.keep] + offset, scale) for row in mine))


def _point(row: AccuracyRow, x: float, scale: "Scale") -> Point:
    label = f"{row.method}, {row.keep} kept: {percent(row.accuracy)} ({percent(row.low)} to {percent(row.high)})"
    return Point(round(x, 1), scale.y(row.accuracy), scale.y(row.high), scale.y(row.low), label)


def evenly_spaced(count: int) -> list[float]:
    """Returns the positions of the rates, at equal distances whatever the rates are.

    >>> evenly_spaced(1), len(evenly_spaced(4))
    ([195.0], 4)
    """
    step = (RIGHT - LEFT) / max(count, 1)
    return [LEFT + step * (index + 0.5) for index in range(count)]


@dataclass(frozen=True)
class Scale:
    """The range of an axis of accuracies, with grid lines at both ends."""

    low: float
    high: float
    step: float

    @staticmethod
    def of(rows: Sequence[AccuracyRow] | Sequence[MethodRow]) -> "Scale":
        """Returns the smallest range that holds all intervals with few grid lines."""
        low, high = min(min(row.low, row.accuracy) for row in rows), max(max(row.high, row.accuracy) for row in rows)
        step = next((step for step in GRID_STEPS if (high - low) / step <= MOST_GRID_LINES + ROUNDING), GRID_STEPS[-1])
        bottom, top = floor(low / step + ROUNDING) * step, ceil(high / step - ROUNDING) * step
        return Scale(bottom, max(top, bottom + step), step)

    def y(self, accuracy: float) -> float:
        """Returns the y of an accuracy; SVG's y grows downwards."""
        return round(BOTTOM - (BOTTOM - TOP) * (accuracy - self.low) / (self.high - self.low), 1)

    def values(self) -> list[float]:
        """Returns the accuracies of all grid lines from low to high."""
        count = round((self.high - self.low) / self.step)
        return [self.low + index * self.step for index in range(count + 1)]

    def grid(self) -> tuple[Tick, ...]:
        """Returns all grid lines from low to high."""
        return tuple(Tick(self.y(value), f"{100 * value:.0f} %") for value in self.values())
