"""An image in tiles on ExecuTorch."""

from pathlib import Path

import pytest
from executorch_bundles import WHY

pytest.importorskip("executorch.runtime", reason=WHY)

from tile_bundles import FASTV, assert_passes_the_check, export_tiles


def test_a_image_in_tiles_equals_pytorch(tmp_path: Path) -> None:
    assert_passes_the_check(export_tiles(tmp_path, "executorch", prune=FASTV), views=3, size=(64, 20))


def test_tiles_that_are_pruned_together_equal_pytorch(executorch_tiles: Path) -> None:
    assert_passes_the_check(executorch_tiles, views=3, size=(64, 20), tokens=2)
