"""A method per grid in the .pte, with its own shapes, against eager PyTorch."""

from pathlib import Path

import pytest
from executorch_bundles import WHY

pytest.importorskip("executorch.runtime", reason=WHY)

from grid_bundles import RATE, assert_equals_pytorch, export_grids
from vlmprune_export.cuts import PruneOptions
from vlmprune_runtime.bundle import open_bundle


def test_two_grids_equal_pytorch(tmp_path: Path) -> None:
    """With the pruner `uniform`: lowering a loop takes longer than all the rest."""
    bundle = export_grids(tmp_path, "executorch", prune=PruneOptions("uniform", rate=RATE))
    assert [graph.entry for graph in open_bundle(bundle).manifest.stage("vision").graphs] == ["vision", "vision_1"]
    assert_equals_pytorch(bundle, relative=1e-5, method="uniform")
