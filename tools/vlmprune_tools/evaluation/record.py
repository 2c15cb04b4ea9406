"""The record of one evaluation as plain data, which `--json` writes, `--attach` stores and the report reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.attach import attach
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.accuracy_rows import Row, make_task, mean_rows, task_rows
from vlmprune_tools.evaluation.bootstrap import RESAMPLES
from vlmprune_tools.evaluation.dataset import MEAN, TESTED, Dataset
from vlmprune_tools.evaluation.evaluation_loop import Predictions
from vlmprune_tools.evaluation.loaded_model import LoadedModel
from vlmprune_tools.evaluation.metrics import DESCRIPTIONS
from vlmprune_tools.evaluation.pope import pope_figures
from vlmprune_tools.evaluation.pruning_config import BLIND, PruningConfig
from vlmprune_tools.evaluation.table_notes import notes_of, untested_tasks

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class EvaluationResult:
    """The predictions of one evaluation; `scores` (M, I) has a row per config and a column per item."""

    model: LoadedModel
    dataset: Dataset
    configs: tuple[PruningConfig, ...]
    predictions: Predictions
    scores: npt.NDArray[np.float64]


def record_of(result: EvaluationResult, request: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Returns the record; `request` is the content that its hash covers."""
    rows, untested = all_rows(result, seed)
    return {
        "kind": "accuracy",
        "schema_version": SCHEMA_VERSION,
        "request": dict(request),
        "model": result.model.identity.name,
        "visual_tokens": result.model.visual_tokens,
        "identity": asdict(result.model.identity),
        "data": data_fields(result.dataset),
        "methods": [method_fields(config, result.model) for config in result.configs],
        "rows": [asdict(row) for row in rows if row.method != BLIND],
        "blind": [asdict(row) for row in rows if row.method == BLIND],
        "pope": pope_rows(result),
        "untested_tasks": list(untested),
        "notes": notes_of(rows, untested),
        "seed": seed,
        "bootstrap_resamples": RESAMPLES,
    }


def all_rows(result: EvaluationResult, seed: int) -> tuple[list[Row], tuple[str, ...]]:
    """Returns all rows, tasks first and means last, and the tasks that do not test pruning."""
    configs, item_tasks = result.configs, np.array([item.task for item in result.dataset.items])
    names = result.dataset.tasks
    tasks = [make_task(name, result.scores[:, item_tasks == name], seed) for name in names]
    rows = [row for task in tasks for row in task_rows(task, configs)]
    untested = untested_tasks(rows, names)
    rows += mean_rows(MEAN, tasks, configs)
    tested = [task for task in tasks if task.name not in untested]
    if tested and untested:
        rows += mean_rows(TESTED, tested, configs)
    return rows, untested


def data_fields(dataset: Dataset) -> dict[str, Any]:
    """Returns the record's fields about the dataset."""
    return {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "templated": dataset.templated,
        "questions": len(dataset.items),
        "pictures": len({picture for item in dataset.items for picture in item.pictures}),
        "tasks": list(dataset.tasks),
        "metrics": {name: DESCRIPTIONS[name] for name in sorted({item.metric for item in dataset.items})},
    }


def method_fields(config: PruningConfig, model: LoadedModel) -> dict[str, Any]:
    """Returns the record's fields about one config; the mean number of visual tokens is over all decoder layers."""
    layer, layers = model.identity.layer, model.identity.decoder_layers
    mean = (layer * model.visual_tokens + (layers - layer) * config.keep) / layers
    return {
        "method": config.method,
        "keep": config.keep,
        "pruned_fraction": round(1 - config.keep / model.visual_tokens, 4),
        "mean_visual_tokens": round(mean, 3),
        "pruned_in": config.pruned_in,
        "settings": dict(config.settings),
    }


def pope_rows(result: EvaluationResult) -> list[dict[str, Any]]:
    """Returns the figures that POPE reports, per task and config; none for other data."""
    items = [item for item in result.dataset.items if item.metric == "pope"]
    tasks = dict.fromkeys(item.task for item in items)
    return [
        {"task": task, "method": config.method, "keep": config.keep}
        | pope_figures(
            (result.predictions[item.key][config.name], item.answers[0]) for item in items if item.task == task
        )
        for task in tasks
        for config in result.configs
    ]


def attach_accuracy(record: Mapping[str, Any], folder: Path) -> None:
    """Writes the record into the bundle's manifest; raises `BadRequest` if another model or cut was evaluated.

    The evaluated model must be the checkpoint that the bundle was made from, or the bundle itself.
    """
    manifest, model = open_bundle(folder, verify=False).manifest, record["identity"]
    if model["source_sha256"] != manifest.source.sha256:
        raise BadRequest(f"{folder} was made from another checkpoint than the one that was evaluated (other sha256)")
    if model["layer"] != manifest.layer:
        raise BadRequest(f"{folder} is cut before layer {manifest.layer}, evaluated was layer {model['layer']}")
    attach(folder, "accuracy", record)
