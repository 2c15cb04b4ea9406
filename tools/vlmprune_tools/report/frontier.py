"""Lays out accuracy against the time to the first token in SVG units, with a point per method."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from vlmprune_tools.methods.schema import MethodRow, MethodsRecord, Speed
from vlmprune_tools.report.formatting import ms, percent
from vlmprune_tools.report.line_charts import Scale, Tick

WIDTH, HEIGHT = 360, 330
LEFT, RIGHT, TOP, BOTTOM = 42, 236, 12, 284
LABELS_AT, LINE_HEIGHT = 252, 13.5
TICKS = 4
TIME_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class FrontierPoint:
    """One method: its place with both intervals, and the height of its label, to which a line leads."""

    method: str
    x: float
    y: float
    top: float
    bottom: float
    left: float
    right: float
    label: str
    label_y: float
    details: str
    on_frontier: bool


@dataclass(frozen=True)
class Frontier:
    """The chart of one rate on one engine. `path` joins the methods that none is both faster and more accurate than."""

    keep: int
    engine: str
    questions: int
    points: tuple[FrontierPoint, ...]
    path: str
    accuracies: tuple[Tick, ...]
    times: tuple[Tick, ...]


Timed = tuple[MethodRow, Speed]


def frontiers(record: MethodsRecord) -> tuple[Frontier, ...]:
    """Returns a chart for every rate and engine that methods were timed at, most tokens first."""
    timed = [(row, speed) for row in record.rows for speed in row.speeds]
    keys = sorted({(speed.engine, -row.keep) for row, speed in timed})
    return tuple(
        draw_frontier([(row, speed) for row, speed in timed if (speed.engine, -row.keep) == key]) for key in keys
    )


def draw_frontier(timed: Sequence[Timed]) -> Frontier:
    """Returns the chart of methods at one rate on one engine."""
    accuracy = Scale.of([row for row, _ in timed])
    time = TimeScale.of([speed for _, speed in timed])
    best = best_of(timed)
    placed = sorted(timed, key=lambda pair: (-pair[0].accuracy, pair[1].first_token_fraction))
    heights = spaced([_y(row.accuracy, accuracy) for row, _ in placed])
    points = [
        _point(pair, (accuracy, time), height, on_frontier=pair[0].method in best)
        for pair, height in zip(placed, heights, strict=True)
    ]
    row, speed = timed[0]
    line = sorted((point for point in points if point.on_frontier), key=lambda point: point.x)
    return Frontier(
        keep=row.keep,
        engine=speed.engine,
        questions=row.questions,
        points=tuple(points),
        path=" ".join(f"{point.x},{point.y}" for point in line),
        accuracies=tuple(Tick(_y(value, accuracy), f"{100 * value:.0f} %") for value in accuracy.values()),
        times=time.ticks(),
    )


def best_of(timed: Sequence[Timed]) -> set[str]:
    """Returns the methods that no other is at least as accurate as in less time, or more accurate in the same time."""

    def beats(other: Timed, one: Timed) -> bool:
        faster = other[1].first_token_fraction, -other[0].accuracy
        return other[0].accuracy >= one[0].accuracy and faster < (one[1].first_token_fraction, -one[0].accuracy)

    return {one[0].method for one in timed if not any(beats(other, one) for other in timed)}


def spaced(heights: Sequence[float]) -> list[float]:
    """Returns heights for labels, in the same order, so far apart that they can be read, and inside the chart.

    >>> spaced([100, 101, 200])
    [100, 113.5, 200]
    """
    placed = list[float]()
    for height in heights:
        placed.append(max(height, placed[-1] + LINE_HEIGHT) if placed else max(height, TOP + 4))
    limit = BOTTOM + 4.0
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - LINE_HEIGHT
    return placed


@dataclass(frozen=True)
class TimeScale:
    """The range of times to the first token, as fractions of the unpruned one."""

    low: float
    high: float
    step: float

    @staticmethod
    def of(speeds: Sequence[Speed]) -> "TimeScale":
        """Returns the smallest range that holds all points with few ticks; intervals are cut at its ends."""
        low = min(speed.first_token_fraction for speed in speeds)
        high = max(speed.first_token_fraction for speed in speeds)
        step = next((step for step in TIME_STEPS if (high - low) / step <= TICKS), TIME_STEPS[-1])
        start, stop = floor(low / step) * step, ceil(high / step) * step
        return TimeScale(start, max(stop, start + step), step)

    def x(self, fraction: float) -> float:
        """Returns the x of a fraction, at an end of the axis if it lies outside."""
        inside = min(max(fraction, self.low), self.high)
        return round(LEFT + 8 + (RIGHT - LEFT - 16) * (inside - self.low) / (self.high - self.low), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Returns all ticks from low to high."""
        values = [self.low + nth * self.step for nth in range(round((self.high - self.low) / self.step) + 1)]
        return tuple(Tick(self.x(value), f"{100 * value:.0f} %") for value in values)


def _point(pair: Timed, scales: tuple[Scale, TimeScale], label_y: float, *, on_frontier: bool) -> FrontierPoint:
    (row, speed), (accuracy, time) = pair, scales
    taken = f"first token {ms(speed.first_token_ms)}, {percent(speed.first_token_fraction)} of unpruned"
    right = f"{percent(row.accuracy)} ({percent(row.low)} to {percent(row.high)})"
    return FrontierPoint(
        method=row.method,
        x=time.x(speed.first_token_fraction),
        y=_y(row.accuracy, accuracy),
        top=_y(row.high, accuracy),
        bottom=_y(row.low, accuracy),
        left=time.x(speed.fraction_low),
        right=time.x(speed.fraction_high),
        label=row.method.replace("place=", ""),
        label_y=round(label_y, 1),
        details=f"{row.method}, K = {row.kept_tokens}: {right}, {taken}",
        on_frontier=on_frontier,
    )


def _y(value: float, scale: Scale) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * (value - scale.low) / (scale.high - scale.low), 1)
