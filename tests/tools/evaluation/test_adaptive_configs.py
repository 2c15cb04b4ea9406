"""A method for which K is an upper bound: the evaluator counts how many tokens stay, and reports their mean."""

from pathlib import Path

import numpy as np
import pytest

from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_tools.evaluation import EvaluationRequest, evaluate
from vlmprune_tools.evaluation.dataset import DatasetOptions
from vlmprune_tools.evaluation.datasets import open_dataset
from vlmprune_tools.evaluation.evaluator import Evaluator
from vlmprune_tools.evaluation.loaded_model import LoadedModel, load_model

KEEP = 11


@pytest.fixture(scope="module")
def prumerge_bundle(asked_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prune = PruneOptions("prumerge", keep=KEEP, settings={"adaptive": True})
    out = tmp_path_factory.mktemp("prumerge") / "bundle"
    return export_bundle(ExportRequest(out, str(asked_checkpoint), prune=prune, context_tokens=96))


def outliers(model: LoadedModel, data: str) -> float:
    """The mean over the questions of the number of tokens whose attention is an outlier, and one more."""
    dataset = open_dataset(data, DatasetOptions(4))
    counts = []
    for item in dataset.items:
        [view] = Evaluator(model, 1).see(dataset.load_image(item.image)).views
        attention = model.engine.run("vision", {"pixels": view.pixels[None]})["tower_last_attention"]
        lower, upper = np.percentile(attention, (25, 75))
        counts.append(min(int((attention > upper + 1.5 * (upper - lower)).sum()) + 1, KEEP))
    return float(np.mean(counts))


@pytest.mark.parametrize("engine", ["onnx", "pytorch"])
def test_the_mean_number_that_stays_is_reported(
    engine: str, asked_checkpoint: Path, prumerge_bundle: Path, asked_folder: Path, tmp_path: Path
) -> None:
    data = str(asked_folder / "asked.csv")
    request = EvaluationRequest(
        str(prumerge_bundle if engine == "onnx" else asked_checkpoint), data, DatasetOptions(4), keeps=(KEEP,),
        pruners=("prumerge:adaptive=true",), layer=0, max_tokens=2, out=tmp_path / "a.json",
    )  # fmt: skip
    record = evaluate(request)
    [_, adaptive] = record["methods"]
    expected = outliers(load_model(str(prumerge_bundle), None, None, lambda line: None), data)
    assert 1 < expected < KEEP
    assert (adaptive["pruned_in"], adaptive["kept_tokens"]) == (engine, KEEP)
    assert adaptive["mean_kept_tokens"] == pytest.approx(expected, abs=1e-3)
    assert adaptive["mean_visual_tokens"] == pytest.approx(expected, abs=1e-3)
    assert any("prumerge:adaptive=true@11" in note for note in record["notes"])
    assert evaluate(request) == record, "the log must hold the numbers too"


def test_between_a_bundles_graphs_it_counts_as_in_its_own_pipeline(
    asked_checkpoint: Path, asked_bundle: Path, asked_folder: Path
) -> None:
    """Of 49 tokens of which all are voted out, 24, 12 and 6 are left; then no token has five neighbours."""
    data, pruners = str(asked_folder / "asked.csv"), ("saint", "saint:adaptive=true:threshold=-1")
    for model in (asked_bundle, asked_checkpoint):
        request = EvaluationRequest(str(model), data, DatasetOptions(3), keeps=(8,), pruners=pruners, layer=2)
        fixed, adaptive = evaluate(request)["methods"][1:]
        assert {config["pruned_in"] for config in (fixed, adaptive)} == {"pytorch"}
        assert (fixed["mean_kept_tokens"], fixed["mean_visual_tokens"]) == (None, 28.5)
        assert (adaptive["kept_tokens"], adaptive["mean_kept_tokens"], adaptive["mean_visual_tokens"]) == (8, 6, 27.5)
