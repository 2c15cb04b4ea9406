"""The floor `resize` on Core ML: the smaller image has prefills of its own length."""

from pathlib import Path

import pytest

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; the Core ML target is NOT tested")

from coreml_bundles import checked, exported

from vlmprune_export.cuts import PruneOptions
from vlmprune_runtime.bundle import open_bundle


def test_resize_is_checked_at_both_sizes(checkpoint: Path, tmp_path: Path) -> None:
    """16 or 49 visual tokens, and 24 of text."""
    prune = PruneOptions("resize", keep=18)
    made = exported(checkpoint, tmp_path / "bundle", prune=prune, options={"text_tokens": "24"})
    lengths = [("prefill_pruned", 40), ("prefill_full", 73), ("decode", 1)]
    for name in ("embed", "tail"):
        stage = open_bundle(made).manifest.stage(name)
        behind = [("decode_32", 32)] if name == "tail" else []
        assert [(graph.entry, graph.tokens) for graph in stage.graphs] == [*lengths, *behind]
    report = checked(made, tokens=3)
    assert report.failures() == []
    assert {"vision", "vision, smaller image"} <= {row.stage for row in report.differences}
