"""A pruner at every place of a cut, exported to every target: the check passes, and the cuts are declared."""

from pathlib import Path
from typing import Any

import pytest

from tiny import write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_runtime.bundle import open_bundle

PLACES: dict[str, tuple[PruneOptions, list[tuple[str, str, int]]]] = {
    "input": (PruneOptions("uniform", 0, 9), [("prune", "input", 0)]),
    "vision": (PruneOptions("uniform", 2, 9, settings={"place": "vision"}), [("prune", "vision", 0)]),
    "vision and layer": (  # reads the tower, and what the next layer projects
        PruneOptions("duet-vlm", keep=9),
        [("prune_vision", "vision", 0), ("prune", "layer", 2)],
    ),
}
TARGETS: dict[str, tuple[str, dict[str, Any]]] = {
    "onnx": ("onnx", {}),
    "executorch": ("executorch.runtime", {"backend": "portable"}),  # the places are the same, XNNPACK takes longer
    "coreml": ("coremltools", {"text_tokens": "24"}),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("cuts") / "checkpoint")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_place_on_every_target(target: str, place: str, checkpoint: Path, tmp_path: Path) -> None:
    package, options = TARGETS[target]
    pytest.importorskip(package, reason=f"{package} is not installed: the target {target} is NOT tested")
    prune, cuts = PLACES[place]
    request = ExportRequest(
        tmp_path / "bundle", str(checkpoint), target, prune, context_tokens=96, options=options
    )  # fmt: skip
    made = export_bundle(request)
    manifest = open_bundle(made).manifest
    assert [(cut.stage, cut.at, cut.layer) for cut in manifest.cuts] == cuts
    assert ("head" in manifest.stages) == (cuts[-1][1] == "layer")
    report = check_bundle(CheckRequest(made, prompt="what is in the picture ?", tokens=3))
    assert report.failures() == []
    assert {row.output for row in report.differences if row.equal is not None} == {"kept", "rank"}
