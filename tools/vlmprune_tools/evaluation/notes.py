"""What the figures say and what they cannot say, in sentences."""

from collections.abc import Iterable, Sequence

from vlmprune_tools.evaluation.items import MEAN, TESTED
from vlmprune_tools.evaluation.rows import Row
from vlmprune_tools.evaluation.variants import FLOORS
from vlmprune_tools.evaluation.ways import BLIND, UNPRUNED


def untested_tasks(rows: Sequence[Row], tasks: Iterable[str]) -> tuple[str, ...]:
    """Tasks on which pruning without looking loses nothing that could be told from nothing.

    That is: at the smallest K, the 95 % interval of what every floor retains reaches 100 %. Empty without floors.
    """
    floors = [row for row in hardest(rows) if pruner_of(row) in FLOORS]
    found = {task: [row for row in floors if row.task == task] for task in tasks}
    return tuple(task for task, group in found.items() if group and all(map(loses_nothing, group)))


def hardest(rows: Iterable[Row]) -> list[Row]:
    """Rows of the smallest K."""
    pruned = [row for row in rows if row.method not in (UNPRUNED, BLIND)]
    least = min((row.keep for row in pruned), default=0)
    return [row for row in pruned if row.keep == least]


def loses_nothing(row: Row) -> bool:
    """Whether 100 % is within the interval, or nothing could be lost."""
    return row.retained_high is None or row.retained_high >= 100


def pruner_of(row: Row) -> str:
    """The pruner's name without settings."""
    return row.method.split(":")[0]


def notes_of(rows: Sequence[Row], untested: Sequence[str]) -> list[str]:
    """Sentences for below the table."""
    found = [f"{task}: does not test pruning (every floor keeps it, at the smallest K and this n)" for task in untested]
    nothing = dict.fromkeys(row.task for row in rows if row.retained_percent is None)
    found += [f"{task}: the unpruned model gets nothing right, so nothing is retained" for task in nothing]
    means = [row for row in hardest(rows) if row.task == (TESTED if any(r.task == TESTED for r in rows) else MEAN)]
    floors = [row for row in means if pruner_of(row) in FLOORS]
    return found + [against(row, floor) for row in means if pruner_of(row) not in FLOORS for floor in floors]


def against(row: Row, floor: Row) -> str:
    """Whether a method beats a floor, by their intervals of what is retained."""
    what = f"at K = {row.keep}, {row.task} retained: {row.method} {_percent(row)}, {floor.method} {_percent(floor)}"
    if row.retained_low is None or floor.retained_high is None or floor.retained_low is None:
        return f"{what}: no verdict"
    assert row.retained_high is not None
    if row.retained_low > floor.retained_high:
        return f"{what}: above it, intervals apart"
    if row.retained_high < floor.retained_low:
        return f"{what}: BELOW it, intervals apart"
    return f"{what}: intervals overlap"


def _percent(row: Row) -> str:
    if row.retained_percent is None:
        return "none"
    return f"{row.retained_percent:.1f} % [{row.retained_low:.1f}, {row.retained_high:.1f}]"
