"""What the figures say and what they cannot say, in sentences."""

from collections.abc import Iterable, Sequence

from vlmprune_tools.evaluation.items import MEAN, RESERVED_TASKS, TESTED
from vlmprune_tools.evaluation.rows import Row
from vlmprune_tools.evaluation.variants import FLOORS
from vlmprune_tools.evaluation.ways import BLIND, UNPRUNED

WHOLE_PERCENT = 99.0


def untested_tasks(rows: Sequence[Row], tasks: Iterable[str]) -> tuple[str, ...]:
    """Tasks on which pruning without looking loses nothing: at the smallest K every floor retains 99 % or more.

    Empty without floors.
    """
    return tuple(task for task, floors in floors_of(rows, tasks).items() if floors and all(map(loses_nothing, floors)))


def undecided_tasks(rows: Sequence[Row], tasks: Iterable[str]) -> tuple[str, ...]:
    """Tasks on which some floor loses something, but none so much that it could not be chance: too few questions."""
    return tuple(
        task
        for task, floors in floors_of(rows, tasks).items()
        if floors and not all(map(loses_nothing, floors)) and all(map(may_lose_nothing, floors))
    )


def floors_of(rows: Sequence[Row], tasks: Iterable[str]) -> dict[str, list[Row]]:
    """Rows of the floors at the smallest K, by task."""
    floors = [row for row in hardest(rows) if pruner_of(row) in FLOORS]
    return {task: [row for row in floors if row.task == task] for task in tasks}


def hardest(rows: Iterable[Row]) -> list[Row]:
    """Rows of the smallest K."""
    pruned = [row for row in rows if row.method not in (UNPRUNED, BLIND)]
    least = min((row.keep for row in pruned), default=0)
    return [row for row in pruned if row.keep == least]


def loses_nothing(row: Row) -> bool:
    """Whether less than one percent is lost, or nothing could be."""
    return row.retained_percent is None or row.retained_percent >= WHOLE_PERCENT


def may_lose_nothing(row: Row) -> bool:
    """Whether 100 % is within the interval."""
    return row.retained_high is None or row.retained_high >= 100


def pruner_of(row: Row) -> str:
    """The pruner's name without settings."""
    return row.method.split(":")[0]


def notes_of(rows: Sequence[Row], untested: Sequence[str]) -> list[str]:
    """Sentences for below the table."""
    found = [f"{task} *: does not test pruning: at the smallest K every floor loses nothing on it" for task in untested]
    tasks = [row.task for row in rows if row.task not in RESERVED_TASKS]
    found += [
        f"{task}: too few questions to tell whether the floors lose anything" for task in undecided_tasks(rows, tasks)
    ]
    nothing = dict.fromkeys(row.task for row in rows if row.retained_percent is None)
    found += [f"{task}: the unpruned model gets nothing right, so nothing is retained" for task in nothing]
    means = [row for row in hardest(rows) if row.task == (TESTED if any(r.task == TESTED for r in rows) else MEAN)]
    floors = [row for row in means if pruner_of(row) in FLOORS]
    return found + [against(row, floor) for row in means if pruner_of(row) not in FLOORS for floor in floors]


def against(row: Row, floor: Row) -> str:
    """Whether a method beats a floor, by their intervals of what is retained."""
    what = f"at K = {row.keep}, {row.task} retained: {row.method} {_percent(row)}, {floor.method} {_percent(floor)}"
    mine, theirs = sure_interval(row), sure_interval(floor)
    if mine is None or theirs is None:
        return f"{what}: no verdict"
    if mine[0] > theirs[1]:
        return f"{what}: above it, intervals apart"
    if mine[1] < theirs[0]:
        return f"{what}: BELOW it, intervals apart"
    return f"{what}: intervals overlap"


def sure_interval(row: Row) -> tuple[float, float] | None:
    """What is retained; where no answer changed, so that the bootstrap has no width, by the rule of three: 3 in n."""
    if row.retained_low is None or row.retained_high is None:
        return None
    room = 300 / row.n if row.retained_low == row.retained_high else 0.0
    return max(0.0, row.retained_low - room), row.retained_high + room


def _percent(row: Row) -> str:
    if row.retained_percent is None:
        return "none"
    low, high = sure_interval(row) or (0.0, 0.0)
    return f"{row.retained_percent:.1f} % [{low:.1f}, {high:.1f}]"
