"""Every pruner keeps on each target what it keeps in eager PyTorch, in the same order, on identical inputs."""

from pathlib import Path

import pytest
import torch

from pruner_inputs import cuts_of, inputs_of
from pruner_targets import RUNS, assert_equal_to_eager
from vlmprune_export.pruners import PRUNERS, build_pruner
from vlmprune_export.pruners.needs import CutPlace

PACKAGES = {"onnx": "onnx", "executorch": "executorch.runtime", "coreml": "coremltools"}
SETTINGS = {
    "dart": {"image_pivots": 2, "text_pivots": 1},
    "prumerge": {"neighbours": 4},
    "saint": {"rounds": 3},
}
CUTS = [cut for cut in cuts_of(PRUNERS) if cut[0] not in ("vlm-pruner", "random", "uniform")]  # which have their own


@pytest.mark.parametrize("cut", CUTS, ids="-".join)
@pytest.mark.parametrize("target", RUNS)
def test_kept_sets_are_eagers(target: str, cut: tuple[str, CutPlace], tmp_path: Path) -> None:
    method, place = cut
    pytest.importorskip(PACKAGES[target], reason=f"the target {target} is not installed and NOT tested")
    pruner = build_pruner(method, grid=(4, 5), keep=7, settings=SETTINGS.get(method, {}), at=place)
    inputs = inputs_of(pruner, torch.randn(20, 12), seed=3)
    with torch.no_grad():
        assert_equal_to_eager(pruner, inputs, RUNS[target](pruner, inputs, tmp_path))
