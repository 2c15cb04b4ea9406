"""A tiny SmolVLM as a bundle, and what must hold on every target with an image in tiles."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tiny_smolvlm import write_smolvlm
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_runtime.bundle import open_bundle

QUESTION = "what is in the picture?"
FASTV = PruneOptions("fastv", layer=2, keep=4)
"""A selection without a loop, which is lowered within seconds."""
UNIFORM = PruneOptions("uniform", keep=4)
"""What it keeps lies evenly over the grid, so that tiles in another order than theirs would be seen."""


def noise(width_px: int, height_px: int) -> Image.Image:
    """An image whose tiles differ."""
    dice = np.random.default_rng(3)
    return Image.fromarray(dice.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8))


def export_tiles(folder: Path, target: str, tiles: int = 2, **settings: Any) -> Path:
    """Writes a checkpoint and its bundle, in which an image has at most so many tiles on a side."""
    checkpoint = write_smolvlm(folder / "checkpoint")
    settings = {"prune": PruneOptions(keep=4), "context_tokens": 256} | settings
    return export_bundle(ExportRequest(folder / target, str(checkpoint), target, tiles=tiles, **settings))


def assert_passes_the_check(bundle: Path, views: int, size: tuple[int, int], tokens: int = 8, images: int = 1) -> None:
    """Every stage equals PyTorch on identical inputs, the kept tokens of all views too, and so do the answers."""
    image = bundle.parent / "image.png"
    noise(*size).save(image)
    report = check_bundle(CheckRequest(bundle, image=[image] * images, prompt=QUESTION, tokens=tokens))
    assert report.failures() == []
    assert [gap.equal for gap in report.differences if gap.output == "kept"] == [True] * groups_of(bundle, views)


def groups_of(bundle: Path, views: int) -> int:
    """Of views that are pruned together there is one choice; the whole image is pruned on its own."""
    return 2 if open_bundle(bundle).manifest.mosaics else views
