"""Scores to figures: per task and way the accuracy, what is retained of the unpruned model, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlmprune_tools.evaluation.bootstrap import percentiles, resampled_means, retained
from vlmprune_tools.evaluation.ways import Way
from vlmprune_tools.pocket.intervals import wilson

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One task in one way. Accuracies are fractions; `retained_*` percent of unpruned, None where that is nothing."""

    task: str
    method: str
    keep: int
    accuracy: float
    low: float
    high: float
    n: int
    retained_percent: float | None
    retained_low: float | None
    retained_high: float | None


@dataclass(frozen=True)
class Task:
    """Scores (M, I) of a task's items in all ways, and their means in the resamples (B, M)."""

    name: str
    scores: Array
    means: Array


def make_task(name: str, scores: Array, seed: int) -> Task:
    """A task with its resamples drawn."""
    return Task(name, scores, resampled_means(scores, seed, name))


def task_rows(task: Task, ways: Sequence[Way]) -> list[Row]:
    """One row a way: Wilson interval of the accuracy (for soft scores it is wide), bootstrap of what is retained."""
    n, right = task.scores.shape[1], task.scores.sum(1)
    share, samples = retained(task.scores.mean(1)[None])[0], retained(task.means)
    rows = []
    for at, way in enumerate(ways):
        low, high = wilson(right[at], n)
        interval = (max(low, 0.0), min(high, 1.0))
        rows.append(_row((task.name, way, n), right[at] / n, interval, (share[at], samples[:, at])))
    return rows


def mean_rows(name: str, tasks: Sequence[Task], ways: Sequence[Way]) -> list[Row]:
    """One row a way: means over tasks, each of equal weight, both intervals by bootstrap.

    What is retained is the mean of the tasks' percentages, as the paper prints it; tasks in which the unpruned model
    gets nothing right have none.
    """
    n = sum(task.scores.shape[1] for task in tasks)
    accuracy = np.mean([task.scores.mean(1) for task in tasks], 0)
    means = np.mean([task.means for task in tasks], 0)
    possible = [task for task in tasks if task.scores[0].any()]
    share, samples = _mean_retained(possible, len(ways))
    rows = []
    for at, way in enumerate(ways):
        interval = percentiles(means[:, at]) or (0.0, 1.0)
        rows.append(_row((name, way, n), accuracy[at], interval, (share[at], samples[:, at])))
    return rows


def _mean_retained(tasks: Sequence[Task], ways: int) -> tuple[Array, Array]:  # -> (M,), (B, M)
    if not tasks:
        return np.full(ways, np.nan), np.full((1, ways), np.nan)
    share = np.mean([retained(task.scores.mean(1)[None])[0] for task in tasks], 0)
    return share, np.mean([retained(task.means) for task in tasks], 0)


def _row(what: tuple[str, Way, int], accuracy: float, interval: tuple[float, float], kept: tuple[float, Array]) -> Row:
    (task, way, n), (share, samples) = what, kept
    known = percentiles(samples) if not np.isnan(share) else None
    low, high = (round(edge, 2) for edge in known) if known else (None, None)
    percent = None if known is None else round(float(share), 2)
    edges = (round(float(interval[0]), 4), round(float(interval[1]), 4))
    return Row(task, way.method, way.keep, round(float(accuracy), 4), *edges, n, percent, low, high)
