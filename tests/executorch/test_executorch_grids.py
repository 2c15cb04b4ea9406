"""A method per grid in the .pte, with its own shapes, against eager PyTorch."""

from pathlib import Path

import pytest
from executorch_bundles import WHY

pytest.importorskip("executorch.runtime", reason=WHY)

from grid_bundles import assert_equals_pytorch
from vlmprune_runtime.bundle import open_bundle


def test_two_grids_equal_pytorch(executorch_grids: Path) -> None:
    graphs = open_bundle(executorch_grids).manifest.stage("vision").graphs
    assert [graph.entry for graph in graphs] == ["vision", "vision_1"]
    assert_equals_pytorch(executorch_grids, relative=1e-5, method="uniform")
