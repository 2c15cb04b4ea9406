"""Lays out accuracy against the time to the first token in SVG units, with a point per method and rate."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from math import ceil, floor

from vlmprune_tools.methods.schema import MethodRow, MethodsRecord, Speed
from vlmprune_tools.methods.speed_table import engines_of, rates_of, timed_on
from vlmprune_tools.report.formatting import ms, percent
from vlmprune_tools.report.line_charts import Scale, Tick

WIDTH, HEIGHT = 360, 330
LEFT, RIGHT, TOP, BOTTOM = 42, 236, 12, 284
LABELS_AT, LINE_HEIGHT = 252, 13.5
TICKS = 4
TIME_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class FrontierPoint:
    """One method at one rate: its place with both intervals, and its label's height, to which a line leads.

    A point without label is found by its details.
    """

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
    """The chart of one rate, or of all, on one engine. `path` joins what none is both faster and more accurate than."""

    title: str
    questions: str
    points: tuple[FrontierPoint, ...]
    path: str
    accuracies: tuple[Tick, ...]
    times: tuple[Tick, ...]


Timed = tuple[MethodRow, Speed]
Key = tuple[str, int]  # a method and the rate that it is compared at
NO_LABEL = ("", 0.0)


def frontiers(record: MethodsRecord) -> tuple[Frontier, ...]:
    """Returns per engine a chart of all rates in one, if methods were timed at several, and one of each rate."""
    return tuple(chart for engine in engines_of(record) for chart in engine_frontiers(record, engine))


def engine_frontiers(record: MethodsRecord, engine: str) -> list[Frontier]:
    """Returns the charts of one engine, most tokens first. That of all rates names the frontier and `against` only."""
    groups = {keep: timed for keep in rates_of(record) if (timed := timed_on(record, engine, keep))}
    charts = [draw_frontier(f"{keep} kept, {engine}", timed, set(map(key_of, timed))) for keep, timed in groups.items()]
    if len(groups) < 2:
        return charts
    every = [pair for timed in groups.values() for pair in timed]
    named = best_of(every) | {key_of(pair) for pair in every if pair[0].method == record.against}
    return [draw_frontier(f"all rates, {engine}", every, named), *charts]


def key_of(pair: Timed) -> Key:
    """Returns what a point is of."""
    return pair[0].method, pair[0].keep


def draw_frontier(title: str, timed: Sequence[Timed], named: Set[Key]) -> Frontier:
    """Returns the chart of methods on one engine, in which the named ones have labels."""
    accuracy = Scale.of([row for row, _ in timed])
    time = TimeScale.of([speed for _, speed in timed])
    placed = sorted(timed, key=lambda pair: (-pair[0].accuracy, pair[1].first_token_fraction))
    labels, best = labels_of([pair for pair in placed if key_of(pair) in named], accuracy), best_of(timed)
    points = [
        _point(pair, (accuracy, time), labels.get(key_of(pair), NO_LABEL), on_frontier=key_of(pair) in best)
        for pair in placed
    ]
    line = sorted((point for point in points if point.on_frontier), key=lambda point: point.x)
    return Frontier(
        title=title,
        questions=_range([row.questions for row, _ in timed]),
        points=tuple(points),
        path=" ".join(f"{point.x},{point.y}" for point in line),
        accuracies=tuple(Tick(_y(value, accuracy), f"{100 * value:.0f} %") for value in accuracy.values()),
        times=time.ticks(),
    )


def labels_of(placed: Sequence[Timed], accuracy: Scale) -> dict[Key, tuple[str, float]]:
    """Returns texts and heights of the labels of points that come by falling accuracy; of several rates with theirs."""
    heights = spaced([_y(row.accuracy, accuracy) for row, _ in placed])
    one_rate = len({row.keep for row, _ in placed}) == 1
    names = [row.method.replace("place=", "") for row, _ in placed]
    texts = names if one_rate else [f"{name}, {row.keep}" for name, (row, _) in zip(names, placed, strict=True)]
    return dict(zip(map(key_of, placed), zip(texts, heights, strict=True), strict=True))


def best_of(timed: Sequence[Timed]) -> set[Key]:
    """Returns the points that no other is at least as accurate as in less time, or more accurate in the same time."""

    def beats(other: Timed, one: Timed) -> bool:
        faster = other[1].first_token_fraction, -other[0].accuracy
        return other[0].accuracy >= one[0].accuracy and faster < (one[1].first_token_fraction, -one[0].accuracy)

    return {key_of(one) for one in timed if not any(beats(other, one) for other in timed)}


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


def _point(
    pair: Timed, scales: tuple[Scale, TimeScale], label: tuple[str, float], *, on_frontier: bool
) -> FrontierPoint:
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
        label=label[0],
        label_y=round(label[1], 1),
        details=f"{row.method}, {row.keep} kept (K = {row.kept_tokens}): {right}, {taken}",
        on_frontier=on_frontier,
    )


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _y(value: float, scale: Scale) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * (value - scale.low) / (scale.high - scale.low), 1)
