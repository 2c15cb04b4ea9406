"""The record as a table: pruners by rate downwards, tasks across."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

Figures = Mapping[str, Any]


def accuracy_table(record: Figures) -> Table:
    """Accuracy in percent with its 95 % interval, and below it percent of unpruned, as the paper prints it."""
    tasks = list(dict.fromkeys(row["task"] for row in record["rows"]))
    table = Table("kept", "method", *(heading(task, record) for task in tasks), title=title(record), show_lines=False)
    cells = {(row["task"], row["method"], row["keep"]): cell(row) for row in all_rows(record)}
    keep = None
    for way in record["methods"]:
        if keep not in (None, way["keep"]):
            table.add_section()
        shown = "" if keep == way["keep"] else kept(way)
        keep = way["keep"]
        table.add_row(shown, way["method"], *(cells[task, way["method"], way["keep"]] for task in tasks))
    return table


def all_rows(record: Figures) -> list[Figures]:
    """Those of the ways that see, and of the blind one."""
    return [*record["rows"], *record["blind"]]


def heading(task: str, record: Figures) -> str:
    """A task and how many questions it has; a star where it does not test pruning."""
    n = next(row["n"] for row in record["rows"] if row["task"] == task)
    return f"{task}{' *' if task in record['untested_tasks'] else ''}\nn = {n}"


def kept(way: Figures) -> str:
    """K and the rate.

    >>> kept({"keep": 64, "pruned_fraction": 0.8889})
    '64 (-88.9 %)'
    """
    return f"{way['keep']} (-{100 * way['pruned_fraction']:.1f} %)" if way["pruned_fraction"] else str(way["keep"])


def cell(row: Figures) -> str:
    """Two lines.

    >>> cell({"accuracy": 0.9, "low": 0.812, "high": 0.95, "retained_percent": 97.26})
    '90.0 [81, 95]\\n97.3 %'
    """
    retained = "-" if row["retained_percent"] is None else f"{row['retained_percent']:.1f} %"
    return f"{100 * row['accuracy']:.1f} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]\n{retained}"


def title(record: Figures) -> str:
    """What was asked of what."""
    model, data = record["identity"], record["data"]
    templated = "templated " if data["templated"] else ""
    return (
        f"{model['name']} ({model['engine']}), cut before layer {model['layer']}: "
        f"{data['questions']} {templated}questions on {data['pictures']} pictures of {data['name']}"
    )


def footnotes(record: Figures) -> Sequence[str]:
    """How to read the table, then what it says."""
    metrics = "; ".join(record["data"]["metrics"].values())
    lines = [
        f"first line: {metrics}, in % with 95 % interval; second: % of unpruned (for the mean: the mean of those)",
        *pruned_where(record),
    ]
    return [*lines, *record["notes"], *map(pope_line, record["pope"])]


def pruned_where(record: Figures) -> list[str]:
    """Which pruners ran outside the bundle's own graphs."""
    engine = record["identity"]["engine"]
    ways = [way for way in record["methods"] if way["pruned_in"]]
    inside = [f"{way['method']} at {way['keep']}" for way in ways if way["pruned_in"] == engine]
    if engine == "pytorch" or not ways:
        return []
    own = f"pruned by the bundle's own graph: {', '.join(inside) or 'none'}"
    return [f"{own}; all others by PyTorch between the bundle's head and tail"]


def pope_line(row: Figures) -> str:
    """POPE's figures of one way."""
    names = ("accuracy", "precision", "recall", "f1", "yes_ratio")
    figures = ", ".join(f"{name} {100 * row[name]:.1f}" for name in names)
    return f"POPE {row['task']}, {row['method']} at {row['keep']}: {figures}"
