"""Turns scores into figures: per task and config the accuracy, the percentage of unpruned, and their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from vlmprune_tools.evaluation.bootstrap import percentiles, resampled_means, retained
from vlmprune_tools.evaluation.pruning_config import BLIND, UNPRUNED, PruningConfig
from vlmprune_tools.proportion import wilson_interval

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One task under one config. Accuracies are fractions; `retained_*` are percent of unpruned, None if that is 0."""

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
class Difference:
    """How much more accurate a method is than the first one at the same rate, as a fraction.

    It is of the mean over tasks of equal weight. The interval is of the paired difference, which says more than two
    intervals side by side. With few questions it is too narrow, so `p_value` is that of the exact sign test over the
    questions that only one of the two got right, of which the method got `only_this` and the other `only_other`.
    """

    task: str
    method: str
    against: str
    keep: int
    difference: float
    low: float
    high: float
    only_this: int
    only_other: int
    p_value: float


@dataclass(frozen=True)
class Task:
    """The scores (M, I) of a task's items under all configs, and their means in the resamples (B, M)."""

    name: str
    scores: Array
    means: Array


def make_task(name: str, scores: Array, seed: int) -> Task:
    """Returns a task with the means of its resamples."""
    return Task(name, scores, resampled_means(scores, seed, name))


def task_rows(task: Task, configs: Sequence[PruningConfig]) -> list[Row]:
    """Returns a row per config: the Wilson interval of the accuracy, the bootstrap interval of what is retained."""
    n, correct = task.scores.shape[1], task.scores.sum(1)
    share, samples = retained(task.scores.mean(1)[None])[0], retained(task.means)
    rows = []
    for index, config in enumerate(configs):
        interval = wilson_interval(correct[index], n)
        rows.append(_row((task.name, config, n), correct[index] / n, interval, (share[index], samples[:, index])))
    return rows


def mean_rows(name: str, tasks: Sequence[Task], configs: Sequence[PruningConfig]) -> list[Row]:
    """Returns a row per config with the means over tasks of equal weight; both intervals are by bootstrap.

    The retained percentage is the mean of the tasks' percentages, as the paper prints it; a task in which the
    unpruned model gets nothing right has none.
    """
    n = sum(task.scores.shape[1] for task in tasks)
    accuracy = np.mean([task.scores.mean(1) for task in tasks], 0)
    means = np.mean([task.means for task in tasks], 0)
    possible = [task for task in tasks if task.scores[0].any()]
    share, samples = _mean_retained(possible, len(configs))
    rows = []
    for index, config in enumerate(configs):
        interval = percentiles(means[:, index]) or (0.0, 1.0)
        rows.append(_row((name, config, n), accuracy[index], interval, (share[index], samples[:, index])))
    return rows


def difference_rows(name: str, tasks: Sequence[Task], configs: Sequence[PruningConfig]) -> list[Difference]:
    """Returns a row per config that is neither the unpruned model nor the first at its rate."""
    accuracy = np.mean([task.scores.mean(1) for task in tasks], 0)
    means = np.mean([task.means for task in tasks], 0)
    first, rows = dict[int, int](), list[Difference]()
    for index, config in enumerate(configs):
        if config.method in (UNPRUNED, BLIND):
            continue
        other = first.setdefault(config.keep, index)
        if other != index:
            low, high = percentiles(means[:, index] - means[:, other]) or (-1.0, 1.0)
            more, low, high = (round(float(value), 4) for value in (accuracy[index] - accuracy[other], low, high))
            this, that = (_only(tasks, one, two) for one, two in ((index, other), (other, index)))
            p_value = round(float(binomtest(this, this + that).pvalue), 5) if this + that else 1.0
            against = configs[other].method
            rows.append(Difference(name, config.method, against, config.keep, more, low, high, this, that, p_value))
    return rows


def _only(tasks: Sequence[Task], one: int, other: int) -> int:
    """Returns the number of questions that one config scores higher on than another."""
    return int(sum((task.scores[one] > task.scores[other]).sum() for task in tasks))


def _mean_retained(tasks: Sequence[Task], configs: int) -> tuple[Array, Array]:  # -> (M,), (B, M)
    if not tasks:
        return np.full(configs, np.nan), np.full((1, configs), np.nan)
    share = np.mean([retained(task.scores.mean(1)[None])[0] for task in tasks], 0)
    return share, np.mean([retained(task.means) for task in tasks], 0)


def _row(
    key: tuple[str, PruningConfig, int], accuracy: float, interval: tuple[float, float], kept: tuple[float, Array]
) -> Row:
    (task, config, n), (share, samples) = key, kept
    known = percentiles(samples) if not np.isnan(share) else None
    low, high = (round(bound, 2) for bound in known) if known else (None, None)
    percent = None if known is None else round(float(share), 2)
    bounds = (round(float(interval[0]), 4), round(float(interval[1]), 4))
    return Row(task, config.method, config.keep, round(float(accuracy), 4), *bounds, n, percent, low, high)
