"""The record of one evaluation as plain data, which `--json` writes, `--attach` stores and the report reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_export.cuts import mean_visual_tokens
from vlmprune_runtime.attach import attach
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.accuracy_rows import (
    Difference,
    Row,
    difference_rows,
    make_task,
    mean_rows,
    task_rows,
)
from vlmprune_tools.evaluation.bootstrap import RESAMPLES
from vlmprune_tools.evaluation.dataset import MEAN, TESTED, Dataset
from vlmprune_tools.evaluation.evaluation_loop import Predictions
from vlmprune_tools.evaluation.loaded_model import LoadedModel
from vlmprune_tools.evaluation.method_pipeline import CLOSE
from vlmprune_tools.evaluation.metrics import DESCRIPTIONS
from vlmprune_tools.evaluation.pope import pope_figures
from vlmprune_tools.evaluation.prediction_log import Kept
from vlmprune_tools.evaluation.pruning_config import (
    BLIND,
    UNPRUNED,
    PruningConfig,
    mean_at_the_models_layer,
    run_exported_pruner,
)
from vlmprune_tools.evaluation.table_notes import notes_of, untested_tasks

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class EvaluationResult:
    """The predictions of one evaluation; `scores` (M, I) has a row per config and a column per item.

    `kept` has, by the name of a config that is adaptive, the mean number of tokens that stayed at each cut.
    """

    model: LoadedModel
    dataset: Dataset
    configs: tuple[PruningConfig, ...]
    predictions: Predictions
    scores: npt.NDArray[np.float64]
    kept: Mapping[str, Kept] = field(default_factory=dict)


def record_of(result: EvaluationResult, request: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Returns the record; `request` is the content that its hash covers."""
    rows, differences, untested = all_rows(result, seed)
    return {
        "kind": "accuracy",
        "schema_version": SCHEMA_VERSION,
        "request": dict(request),
        "model": result.model.identity.name,
        "visual_tokens": result.model.visual_tokens,
        "identity": asdict(result.model.identity),
        "data": data_fields(result.dataset),
        "methods": [method_fields(config, result) for config in result.configs],
        "rows": [asdict(row) for row in rows if row.method != BLIND],
        "blind": [asdict(row) for row in rows if row.method == BLIND],
        "differences": [asdict(row) for row in differences],
        "pope": pope_rows(result),
        "untested_tasks": list(untested),
        "notes": [*notes_of(rows, untested), *notes_of_means(result)],
        "seed": seed,
        "bootstrap_resamples": RESAMPLES,
    }


def all_rows(result: EvaluationResult, seed: int) -> tuple[list[Row], list[Difference], tuple[str, ...]]:
    """Returns all rows, tasks first and means last, the methods' differences, and the tasks that test no pruning."""
    configs, item_tasks = result.configs, np.array([item.task for item in result.dataset.items])
    names = result.dataset.tasks
    tasks = [make_task(name, result.scores[:, item_tasks == name], seed) for name in names]
    rows = [row for task in tasks for row in task_rows(task, configs)]
    untested = untested_tasks(rows, names)
    rows += mean_rows(MEAN, tasks, configs)
    tested = [task for task in tasks if task.name not in untested]
    if tested and untested:
        rows += mean_rows(TESTED, tested, configs)
        return rows, difference_rows(TESTED, tested, configs), untested
    return rows, difference_rows(MEAN, tasks, configs), untested


def notes_of_means(result: EvaluationResult) -> list[str]:
    """Returns a note for every config whose mean number of visual tokens is not close to that of its rate."""
    notes = []
    for config in result.configs:
        if config.method in (UNPRUNED, BLIND):
            continue
        mean, wanted = mean_tokens_of(config, result), mean_at_the_models_layer(result.model, config.keep)
        if abs(mean / wanted - 1) >= CLOSE:
            notes.append(
                f"{config.name}: {mean:.1f} visual tokens on average over the layers, others at this rate {wanted:.1f}"
            )
    return notes


def data_fields(dataset: Dataset) -> dict[str, Any]:
    """Returns the record's fields about the dataset."""
    return {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "templated": dataset.templated,
        "questions": len(dataset.items),
        "pictures": len({image for item in dataset.items for image in item.images}),
        "tasks": list(dataset.tasks),
        "metrics": {name: DESCRIPTIONS[name] for name in sorted({item.metric for item in dataset.items})},
    }


def method_fields(config: PruningConfig, result: EvaluationResult) -> dict[str, Any]:
    """Returns the record's fields about one config.

    The mean number of visual tokens is over all decoder layers, and `kept_tokens` is what the last cut leaves: for an
    adaptive config at most, and `mean_kept_tokens` is the mean over the questions.
    """
    own = result.kept.get(config.name)
    return {
        "method": config.method,
        "keep": config.keep,
        "kept_tokens": config.kept_tokens or config.keep,
        "pruned_fraction": round(1 - config.keep / result.model.visual_tokens, 4),
        "mean_kept_tokens": round(own[-1], 3) if own else None,
        "mean_visual_tokens": round(mean_tokens_of(config, result), 3),
        "pruned_in": config.pruned_in,
        "settings": dict(config.settings),
    }


def mean_tokens_of(config: PruningConfig, result: EvaluationResult) -> float:
    """Returns the mean number of visual tokens over all decoder layers, of an image on the first grid."""
    model = result.model
    if config.method in (UNPRUNED, BLIND):
        return model.visual_tokens
    if config.name in result.kept:
        cuts = (config.pipeline.model if config.pipeline else model).pipeline.cuts
        tokens = [model.visual_tokens, *result.kept[config.name]]
        return mean_visual_tokens(tokens, [cut.layer for cut in cuts], model.identity.decoder_layers)
    if config.pipeline is not None:
        return config.pipeline.grid.mean_visual_tokens
    if config.prune is run_exported_pruner:
        return model.pipeline.grids[0].mean_visual_tokens
    return mean_at_the_models_layer(model, config.keep)


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
