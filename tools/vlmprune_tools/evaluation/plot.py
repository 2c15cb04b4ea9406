"""Plots retained accuracy against rate: the mean first, then each task."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from vlmprune_runtime.atomic import OutputFile, check_output_png, save_png
from vlmprune_runtime.errors import BadRequest, short_repr
from vlmprune_tools.optional_packages import tools_package

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = "osD^vPX"
COLUMNS, PANEL_INCHES, DPI = 3, (4.2, 3.2), 120
NOT_CURVES = ("unpruned", "blind")

Rows = Sequence[Mapping[str, Any]]


def check_plot(out: Path) -> OutputFile:
    """Returns the plot's place; raises before the evaluation if the plot could not be saved after it."""
    if out.suffix.lower() != ".png":
        raise BadRequest(f"{short_repr(out)}: the plot is an image; give a name that ends in .png")
    tools_package("matplotlib")
    return check_output_png(out)


def save_plot(record: Mapping[str, Any], out: Path | OutputFile) -> None:
    """Plots the record and writes the image whole or not at all."""
    from matplotlib.figure import Figure
    from PIL import Image

    tasks = panels(record)
    rows = -(-len(tasks) // COLUMNS)
    columns = min(COLUMNS, len(tasks))
    figure = Figure((PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + 0.6), DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for task, panel in zip(tasks, axes, strict=False):
        draw_panel(panel, [row for row in record["rows"] if row["task"] == task], record)
    for panel in axes[len(tasks) :]:
        panel.axis("off")
    figure.suptitle(f"{record['model']}: accuracy kept of unpruned, 95 % intervals")
    figure.savefig(buffer := BytesIO(), format="png")
    save_png(Image.open(buffer).convert("RGB"), out)


def panels(record: Mapping[str, Any]) -> list[str]:
    """Returns the names of the tasks, means first."""
    names = dict.fromkeys(row["task"] for row in record["rows"])
    tasks = record["data"]["tasks"]
    return [*(name for name in names if name not in tasks), *tasks]


def draw_panel(panel: Any, rows: Rows, record: Mapping[str, Any]) -> None:
    """Draws one task: a curve with its interval per pruner, K on a logarithmic axis, most pruned at the right."""
    curves = [name for name in dict.fromkeys(row["method"] for row in rows) if name not in NOT_CURVES]
    panel.axhline(100, color="grey", linestyle="--", linewidth=1)
    for index, method in enumerate(curves):
        draw_curve(panel, [row for row in rows if row["method"] == method], index)
    task = rows[0]["task"]
    star = " (does not test pruning)" if task in record["untested_tasks"] else ""
    panel.set_title(f"{task}{star}, n = {rows[0]['n']}", fontsize=10)
    keeps = sorted({row["keep"] for row in rows if row["method"] in curves})
    if keeps:
        panel.set_xscale("log")
        panel.set_xticks(keeps, [str(keep) for keep in keeps])
        panel.minorticks_off()
        panel.set_xlim(max(keeps) * 1.15, min(keeps) / 1.15)
        panel.legend(fontsize=8, loc="lower left")
    panel.set_xlabel(f"visual tokens kept of {record['visual_tokens']}", fontsize=9)
    panel.set_ylabel("% of unpruned", fontsize=9)
    panel.grid(alpha=0.25)


def draw_curve(panel: Any, rows: Rows, index: int) -> None:
    """Draws one pruner, leaving out rates without a figure."""
    known = [row for row in rows if row["retained_percent"] is not None]
    keeps, middle = [row["keep"] for row in known], [row["retained_percent"] for row in known]
    edges = [[row[name] for row in known] for name in ("retained_low", "retained_high")]
    colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
    panel.plot(keeps, middle, marker=mark, color=colour, label=rows[0]["method"], linewidth=1.6, markersize=5)
    panel.fill_between(keeps, *edges, color=colour, alpha=0.12, linewidth=0)
