"""Notes below the table: sentences that say what the figures show and what they cannot show."""

from collections.abc import Iterable, Sequence

from vlmprune_tools.evaluation.accuracy_rows import Row
from vlmprune_tools.evaluation.dataset import MEAN, RESERVED_TASKS, TESTED
from vlmprune_tools.evaluation.pruning_config import BLIND, UNPRUNED
from vlmprune_tools.evaluation.variants import FLOORS

WHOLE_PERCENT = 99.0


def untested_tasks(rows: Sequence[Row], tasks: Iterable[str]) -> tuple[str, ...]:
    """Returns tasks on which blind pruning loses nothing: at the smallest K every floor retains 99 % or more.

    Without floors there are none.
    """
    return tuple(task for task, floors in floors_of(rows, tasks).items() if floors and all(map(loses_nothing, floors)))


def undecided_tasks(rows: Sequence[Row], tasks: Iterable[str]) -> tuple[str, ...]:
    """Returns tasks with too few questions: some floor loses something, but each loss could be chance."""
    return tuple(
        task
        for task, floors in floors_of(rows, tasks).items()
        if floors and not all(map(loses_nothing, floors)) and all(map(may_lose_nothing, floors))
    )


def floors_of(rows: Sequence[Row], tasks: Iterable[str]) -> dict[str, list[Row]]:
    """Returns the rows of the floors at the smallest K, by task."""
    floors = [row for row in rows_of_smallest_keep(rows) if pruner_of(row) in FLOORS]
    return {task: [row for row in floors if row.task == task] for task in tasks}


def rows_of_smallest_keep(rows: Iterable[Row]) -> list[Row]:
    """Returns the rows of the smallest K."""
    pruned = [row for row in rows if row.method not in (UNPRUNED, BLIND)]
    smallest = min((row.keep for row in pruned), default=0)
    return [row for row in pruned if row.keep == smallest]


def loses_nothing(row: Row) -> bool:
    """Returns True if less than one percent is lost, or nothing could be lost."""
    return row.retained_percent is None or row.retained_percent >= WHOLE_PERCENT


def may_lose_nothing(row: Row) -> bool:
    """Returns True if the interval contains 100 %."""
    return row.retained_high is None or row.retained_high >= 100


def pruner_of(row: Row) -> str:
    """Returns the pruner's name without settings."""
    return row.method.split(":")[0]


def notes_of(rows: Sequence[Row], untested: Sequence[str]) -> list[str]:
    """Returns the notes for below the table."""
    notes = [f"{task} *: does not test pruning: at the smallest K every floor loses nothing on it" for task in untested]
    tasks = [row.task for row in rows if row.task not in RESERVED_TASKS]
    notes += [
        f"{task}: too few questions to tell whether the floors lose anything" for task in undecided_tasks(rows, tasks)
    ]
    nothing = dict.fromkeys(row.task for row in rows if row.retained_percent is None)
    notes += [f"{task}: the unpruned model gets nothing right, so nothing is retained" for task in nothing]
    means = [
        row
        for row in rows_of_smallest_keep(rows)
        if row.task == (TESTED if any(r.task == TESTED for r in rows) else MEAN)
    ]
    floors = [row for row in means if pruner_of(row) in FLOORS]
    return notes + [compare_with_floor(row, floor) for row in means if pruner_of(row) not in FLOORS for floor in floors]


def compare_with_floor(row: Row, floor: Row) -> str:
    """Returns whether a method beats a floor, judged by the intervals of what they retain."""
    measured = f"at K = {row.keep}, {row.task} retained: {row.method} {_percent(row)}, {floor.method} {_percent(floor)}"
    mine, theirs = retained_interval(row), retained_interval(floor)
    if mine is None or theirs is None:
        return f"{measured}: no verdict"
    if mine[0] > theirs[1]:
        return f"{measured}: above it, intervals apart"
    if mine[1] < theirs[0]:
        return f"{measured}: BELOW it, intervals apart"
    return f"{measured}: intervals overlap"


def retained_interval(row: Row) -> tuple[float, float] | None:
    """Returns the interval of what is retained, by the rule of three (3 in n) where the bootstrap has no width."""
    if row.retained_low is None or row.retained_high is None:
        return None
    margin = 300 / row.n if row.retained_low == row.retained_high else 0.0
    return max(0.0, row.retained_low - margin), row.retained_high + margin


def _percent(row: Row) -> str:
    if row.retained_percent is None:
        return "none"
    low, high = retained_interval(row) or (0.0, 0.0)
    return f"{row.retained_percent:.1f} % [{low:.1f}, {high:.1f}]"
