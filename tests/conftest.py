"""Fixtures that more than one folder uses."""

import logging
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # tiny models: threads only wait for each other
logging.getLogger("torch.__trace").propagate = False  # thousands of lines in front of what a failed test says
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests never look at a hub
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # also of tests that import onnxruntime before our packages

# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def executorch_grids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two grids, for the same tests. Its pruner is `uniform`: lowering a loop takes long."""
    from grid_bundles import RATE, export_grids
    from vlmprune_export.cuts import PruneOptions

    prune = PruneOptions("uniform", rate=RATE)
    return export_grids(tmp_path_factory.mktemp("executorch grids"), "executorch", prune=prune)


@pytest.fixture(scope="session")
def executorch_tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose tiles are pruned together, for tests of the target and of the C++ runner."""
    from tile_bundles import UNIFORM, export_tiles

    folder = tmp_path_factory.mktemp("executorch tiles")
    return export_tiles(folder, "executorch", prune=UNIFORM, tiles_pruned="jointly")
