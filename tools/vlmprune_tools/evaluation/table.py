"""Lays a record out as a table with pruners by rate downwards and tasks across."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

Figures = Mapping[str, Any]


def accuracy_table(record: Figures) -> Table:
    """Returns a table of accuracies in percent with 95 % intervals, each above its percentage of unpruned."""
    tasks = list(dict.fromkeys(row["task"] for row in record["rows"]))
    table = Table("kept", "method", *(heading(task, record) for task in tasks), title=title(record), show_lines=False)
    cells = {(row["task"], row["method"], row["keep"]): cell(row) for row in all_rows(record)}
    keep = None
    for config in record["methods"]:
        if keep not in (None, config["keep"]):
            table.add_section()
        shown = "" if keep == config["keep"] else kept(config)
        keep = config["keep"]
        table.add_row(shown, own_tokens(config), *(cells[task, config["method"], config["keep"]] for task in tasks))
    return table


def all_rows(record: Figures) -> list[Figures]:
    """Returns the rows of all configs, with the blind one last."""
    return [*record["rows"], *record["blind"]]


def heading(task: str, record: Figures) -> str:
    """Returns a task's name and number of questions; a star marks a task that does not test pruning."""
    n = next(row["n"] for row in record["rows"] if row["task"] == task)
    return f"{task}{' *' if task in record['untested_tasks'] else ''}\nn = {n}"


def kept(config: Figures) -> str:
    """Returns K and the rate as text.

    >>> kept({"keep": 64, "pruned_fraction": 0.8889})
    '64 (-88.9 %)'
    """
    return (
        f"{config['keep']} (-{100 * config['pruned_fraction']:.1f} %)"
        if config["pruned_fraction"]
        else str(config["keep"])
    )


def own_tokens(config: Figures) -> str:
    """Returns a method's name, with the number of tokens that it keeps itself where that is another.

    >>> own_tokens({"method": "nuwa", "keep": 64, "kept_tokens": 25, "mean_visual_tokens": 100.0})
    'nuwa\\nK = 25, mean 100.0'
    >>> own = {"kept_tokens": 98, "mean_kept_tokens": 31.5, "mean_visual_tokens": 31.5}
    >>> own_tokens({"method": "prumerge:adaptive=true", "keep": 64, **own})
    'prumerge:adaptive=true\\nK <= 98, kept 31.5, mean 31.5'
    """
    if config.get("mean_kept_tokens") is not None:
        kept, mean = f"{config['mean_kept_tokens']:.1f}", f"{config['mean_visual_tokens']:.1f}"
        return f"{config['method']}\nK <= {config['kept_tokens']}, kept {kept}, mean {mean}"
    if config["kept_tokens"] == config["keep"]:
        return str(config["method"])
    return f"{config['method']}\nK = {config['kept_tokens']}, mean {config['mean_visual_tokens']:.1f}"


def cell(row: Figures) -> str:
    """Returns the two lines of a cell.

    >>> cell({"accuracy": 0.9, "low": 0.812, "high": 0.95, "retained_percent": 97.26})
    '90.0 [81, 95]\\n97.3 %'
    """
    retained = "-" if row["retained_percent"] is None else f"{row['retained_percent']:.1f} %"
    return f"{100 * row['accuracy']:.1f} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]\n{retained}"


def title(record: Figures) -> str:
    """Returns the table's title: the model, its cut and the data."""
    model, data = record["identity"], record["data"]
    templated = "templated " if data["templated"] else ""
    return (
        f"{model['name']} ({model['engine']}), cut before layer {model['layer']}: "
        f"{data['questions']} {templated}questions on {data['pictures']} images of {data['name']}"
    )


def footnotes(record: Figures) -> Sequence[str]:
    """Returns the lines below the table: how to read it, then the notes."""
    metrics = "; ".join(record["data"]["metrics"].values())
    lines = [
        f"first line: {metrics}, in % with 95 % interval; second: % of unpruned (for the mean: the mean of those)",
        *pruned_where(record),
    ]
    return [*lines, *record["notes"], *map(pope_line, record["pope"])]


def pruned_where(record: Figures) -> list[str]:
    """Returns a line that says which pruners ran in the bundle's own graph and which outside, if any did."""
    engine = record["identity"]["engine"]
    configs = [config for config in record["methods"] if config["pruned_in"]]
    inside = [f"{config['method']} at {config['keep']}" for config in configs if config["pruned_in"] == engine]
    if engine == "pytorch" or not configs:
        return []
    own = f"pruned by the bundle's own graph: {', '.join(inside) or 'none'}"
    return [f"{own}; all others by PyTorch between the bundle's head and tail"]


def pope_line(row: Figures) -> str:
    """Returns a line with POPE's figures of one config."""
    names = ("accuracy", "precision", "recall", "f1", "yes_ratio")
    figures = ", ".join(f"{name} {100 * row[name]:.1f}" for name in names)
    return f"POPE {row['task']}, {row['method']} at {row['keep']}: {figures}"
