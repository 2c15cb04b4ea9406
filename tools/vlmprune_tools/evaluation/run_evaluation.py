"""Runs an evaluation: loads a model and a dataset, predicts, scores, and returns the record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import MAX_TOKENS
from vlmprune_runtime.progress import Report
from vlmprune_tools.evaluation.dataset import Dataset, DatasetOptions
from vlmprune_tools.evaluation.datasets import open_dataset
from vlmprune_tools.evaluation.evaluation_loop import kept_of, run_evaluation_loop, score_predictions
from vlmprune_tools.evaluation.evaluator import Evaluator
from vlmprune_tools.evaluation.loaded_model import DTYPES, LoadedModel, load_model
from vlmprune_tools.evaluation.prediction_log import digest, open_prediction_log
from vlmprune_tools.evaluation.pruning_config import BLIND, PruningConfig, build_configs
from vlmprune_tools.evaluation.record import EvaluationResult, record_of
from vlmprune_tools.evaluation.variants import Variant, parse_variants

DEFAULT_PRUNERS = ("vlm-pruner", "random", "uniform")


@dataclass(frozen=True)
class EvaluationRequest:
    """Which model (a bundle's folder, a checkpoint's, or `pocket`) is evaluated on which data, and how it is pruned.

    Empty `keeps` means the paper's three rates. `layer` None means the bundle's own, or 2 for a checkpoint.
    `threads` None leaves the number to the engine. `dtype` is the precision of a checkpoint's language model. The
    record is written to `out`, with the prediction log beside it.
    """

    model: str
    data: str = "scenes"
    dataset_options: DatasetOptions = field(default_factory=DatasetOptions)
    keeps: tuple[int, ...] = ()
    pruners: tuple[str, ...] = DEFAULT_PRUNERS
    settings: Mapping[str, Any] = field(default_factory=dict)
    layer: int | None = None
    max_tokens: int = MAX_TOKENS
    blind: bool = False
    threads: int | None = None
    dtype: str = DTYPES[0]
    out: Path | None = None


def evaluate(request: EvaluationRequest, *, progress: Report = lambda line: None) -> dict[str, Any]:
    """Returns the record of an evaluation. Raises `BadRequest` and all that loading a model raises."""
    if request.max_tokens < 1:
        raise BadRequest(f"max_tokens: got {request.max_tokens}; allowed: 1 or more")
    variants = parse_variants(request.pruners, request.settings)
    dataset = open_dataset(request.data, request.dataset_options)
    progress("opening the model")
    model = load_model(request.model, request.layer, request.threads, progress, request.dtype)
    configs = configs_with_blind(request, dataset, model, variants)
    content = fingerprint(request, dataset, model, configs)
    shared = {name: value for name, value in content.items() if name != "configs"}
    digests = {name: digest(config) for name, config in content["configs"].items()}
    log = open_prediction_log(request.out, digest(shared), digests)
    run_evaluation_loop(Evaluator(model, request.max_tokens), dataset, configs, log)
    scores = score_predictions(dataset, configs, log.predictions)
    result = EvaluationResult(model, dataset, configs, log.predictions, scores, kept_of(dataset, configs, log))
    return record_of(result, {**content, "sha256": digest(content)}, request.dataset_options.seed)


def configs_with_blind(
    request: EvaluationRequest, dataset: Dataset, model: LoadedModel, variants: Sequence[Variant]
) -> tuple[PruningConfig, ...]:
    """Returns all configs, and the blind one if the request or the dataset asks for it."""
    blind = [PruningConfig(BLIND, model.visual_tokens)] if request.blind or dataset.blind else []
    return (*build_configs(model, variants, request.keeps, request.layer), *blind)


def fingerprint(
    request: EvaluationRequest, dataset: Dataset, model: LoadedModel, configs: Sequence[PruningConfig]
) -> dict[str, Any]:
    """Returns all that a prediction depends on, so that predictions of another request are never reused.

    The limit is not part of it: more questions of the same data continue the same log.
    """
    identity = model.identity
    return {
        "model": identity.sha256 or identity.name,
        "layer": identity.layer,
        "engine": identity.engine,
        "quantisation": identity.quantisation,
        "versions": dict(identity.versions),
        "data": {"name": dataset.name, "sha256": dataset.sha256, "seed": request.dataset_options.seed},
        "configs": {
            config.name: {
                "settings": dict(config.settings),
                "pruned_in": config.pruned_in,
                "cuts": config.pipeline.cuts if config.pipeline else None,
                "kept_tokens": config.kept_tokens,
            }
            for config in configs
        },
        "max_tokens": request.max_tokens,
    }
