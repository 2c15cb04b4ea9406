"""`random` and `uniform` inside an exported graph."""

from pathlib import Path

import numpy as np
import pytest

from tiny import write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_export.pruners import build_pruner
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines import load_engine


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("floors") / "checkpoint")


@pytest.mark.parametrize(
    ("method", "wish"), [("random", {"seed": 3}), ("uniform", {"place": "layer", "vision_keep": None})]
)
def test_a_bundle_of_a_floor_passes_the_check(
    method: str, wish: dict[str, int], checkpoint: Path, tmp_path: Path
) -> None:
    prune = PruneOptions(method, keep=11, settings=wish)
    made = export_bundle(ExportRequest(tmp_path / "bundle", str(checkpoint), prune=prune, context_tokens=96))
    report = check_bundle(CheckRequest(made, prompt="what is in the picture ?", tokens=8))
    assert report.failures() == []
    bundle = open_bundle(made)
    assert (bundle.manifest.pruner.method, bundle.manifest.pruner.settings) == (method, wish)
    kept = load_engine(bundle).run("prune", {"hidden": np.ones((49, 48), np.float32)})["kept"]
    assert kept.tolist() == build_pruner(method, grid=(7, 7), keep=11, settings=wish).kept.tolist()  # type: ignore
