"""An image in tiles in Core ML's packages, which have prefills for every number of views."""

from pathlib import Path

from tile_bundles import FASTV, UNIFORM, assert_passes_the_check, export_tiles
from vlmprune_runtime.bundle import open_bundle

OPTIONS = {"precision": "fp32", "text_tokens": "40"}


def test_two_pictures_in_tiles_equal_pytorch(tmp_path: Path) -> None:
    """Two of 3 views are longer than one of 5."""
    bundle = export_tiles(tmp_path, "coreml", prune=FASTV, options=OPTIONS)
    graphs = open_bundle(bundle).manifest.stages["tail"].graphs
    lengths = ("", "_5_views", "_2_images")
    names = [f"prefill_{mode}{length}" for mode in ("pruned", "full") for length in lengths]
    assert [graph.entry for graph in graphs] == [*names, "decode", "decode_32"]
    assert_passes_the_check(bundle, views=6, size=(64, 20), tokens=2, images=2)


def test_tiles_that_are_pruned_together_equal_pytorch(tmp_path: Path) -> None:
    bundle = export_tiles(tmp_path, "coreml", prune=UNIFORM, options=OPTIONS, tiles_pruned="jointly")
    entries = tuple(graph.entry for graph in open_bundle(bundle).manifest.stages["prune"].graphs)
    assert entries == ("main", "main_grid_1", "main_grid_2", "main_grid_3")  # the whole; 1 x 2, 2 x 1, 2 x 2 tiles
    assert_passes_the_check(bundle, views=3, size=(64, 20), tokens=2)
