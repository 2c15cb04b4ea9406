"""A function per grid in the packages, and positions of three axes from a table, in the MIL reference."""

from pathlib import Path

from grid_bundles import assert_equals_pytorch, export_grids
from vlmprune_runtime.bundle import open_bundle


def test_two_grids_equal_pytorch(tmp_path: Path) -> None:
    """In fp32; an image alone and two of them have a length each, and a further question 32."""
    bundle = export_grids(tmp_path, "coreml", options={"precision": "fp32", "text_tokens": "80"})
    stages = open_bundle(bundle).manifest.stages
    assert [(graph.entry, graph.grid) for graph in stages["vision"].graphs] == [("main", 0), ("main_grid_1", 1)]
    assert [graph.tokens for graph in stages["head"].graphs] == [24 + 80, 48 + 80, 1, 32]
    assert_equals_pytorch(bundle, relative=2e-3, tokens=2)
