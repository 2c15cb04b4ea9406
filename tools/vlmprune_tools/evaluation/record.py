"""The result of one evaluation as plain data: what `--json` writes, `--attach` keeps and the report reads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_tools.evaluation.answers import MEANINGS
from vlmprune_tools.evaluation.bootstrap import RESAMPLES
from vlmprune_tools.evaluation.interview import Said
from vlmprune_tools.evaluation.items import MEAN, TESTED, Data, Item
from vlmprune_tools.evaluation.notes import notes_of, untested_tasks
from vlmprune_tools.evaluation.pope import pope_figures
from vlmprune_tools.evaluation.rows import Row, make_task, mean_rows, task_rows
from vlmprune_tools.evaluation.subject import Subject
from vlmprune_tools.evaluation.ways import BLIND, Way

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Outcome:
    """All that was asked and said; `scores` (M, I) as the items and ways are ordered."""

    subject: Subject
    data: Data
    ways: tuple[Way, ...]
    said: Said
    scores: npt.NDArray[np.float64]


def record_of(outcome: Outcome, request: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The record; `request` is what its hash was made of."""
    rows, untested = figures(outcome, seed)
    return {
        "kind": "accuracy",
        "schema_version": SCHEMA_VERSION,
        "request": dict(request),
        "model": outcome.subject.identity.name,
        "visual_tokens": outcome.subject.visual_tokens,
        "identity": asdict(outcome.subject.identity),
        "data": data_fields(outcome.data),
        "methods": [method_fields(way, outcome.subject) for way in outcome.ways],
        "rows": [asdict(row) for row in rows if row.method != BLIND],
        "blind": [asdict(row) for row in rows if row.method == BLIND],
        "pope": pope_rows(outcome),
        "untested_tasks": list(untested),
        "notes": notes_of(rows, untested),
        "seed": seed,
        "bootstrap_resamples": RESAMPLES,
    }


def figures(outcome: Outcome, seed: int) -> tuple[list[Row], tuple[str, ...]]:
    """All rows, tasks first and means last, and the tasks that do not test pruning."""
    ways, names = outcome.ways, [item.task for item in outcome.data.items]
    tasks = [
        make_task(name, outcome.scores[:, [at for at, task in enumerate(names) if task == name]], seed)
        for name in outcome.data.tasks
    ]
    rows = [row for task in tasks for row in task_rows(task, ways)]
    untested = untested_tasks(rows, outcome.data.tasks)
    rows += mean_rows(MEAN, tasks, ways)
    tested = [task for task in tasks if task.name not in untested]
    if tested and untested:
        rows += mean_rows(TESTED, tested, ways)
    return rows, untested


def data_fields(data: Data) -> dict[str, Any]:
    """What was asked."""
    return {
        "name": data.name,
        "sha256": data.sha256,
        "templated": data.templated,
        "questions": len(data.items),
        "pictures": len({item.picture for item in data.items}),
        "tasks": list(data.tasks),
        "metrics": {name: MEANINGS[name] for name in sorted({item.metric for item in data.items})},
    }


def method_fields(way: Way, subject: Subject) -> dict[str, Any]:
    """How one way answers; the mean number of visual tokens is over all decoder layers."""
    layer, layers = subject.identity.layer, subject.identity.decoder_layers
    mean = (layer * subject.visual_tokens + (layers - layer) * way.keep) / layers
    return {
        "method": way.method,
        "keep": way.keep,
        "pruned_fraction": round(1 - way.keep / subject.visual_tokens, 4),
        "mean_visual_tokens": round(mean, 3),
        "pruned_in": way.pruned_in,
        "settings": dict(way.settings),
    }


def pope_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """Per task and way what POPE reports; empty for other data."""
    asked = [item for item in outcome.data.items if item.metric == "pope"]
    tasks = dict.fromkeys(item.task for item in asked)
    return [
        {"task": task, "method": way.method, "keep": way.keep, **pope_figures(_pairs(asked, task, way, outcome.said))}
        for task in tasks
        for way in outcome.ways
    ]


def _pairs(items: Sequence[Item], task: str, way: Way, said: Said) -> list[tuple[str, str]]:
    return [(said[item.key][way.name], item.answers[0]) for item in items if item.task == task]
