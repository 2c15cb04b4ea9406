"""A tiny Qwen2.5-VL of two grids as a bundle, and what must hold on every target with an image on either grid."""

from pathlib import Path
from typing import Any

from PIL import Image

from tiny_qwen2_5_vl import GRIDS, images, write_qwen2_5_vl
from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.families import build_family
from vlmprune_export.parity.stage_differences import Difference, compare_stages
from vlmprune_export.parity.token_agreement import compare_generation
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.question import Question

RATE, TEXT = 0.7, "what is in the picture?"


def export_grids(folder: Path, target: str, **settings: Any) -> Path:
    """Writes a checkpoint and its bundle, and returns the bundle's folder."""
    checkpoint = write_qwen2_5_vl(folder / "checkpoint")
    settings = {"prune": PruneOptions(rate=RATE), "context_tokens": 160} | settings
    return export_bundle(ExportRequest(folder / target, str(checkpoint), target, grids=GRIDS, **settings))


def assert_equals_pytorch(bundle: Path, relative: float, method: str = "vlm-pruner", tokens: int = 6) -> None:
    """Every stage on identical inputs, its kept tokens too, and the tokens of the answer about two images."""
    runner = open_runner(bundle)
    manifest, model = runner.bundle.manifest, load_checkpoint(str(bundle.parent / "checkpoint"), progress=print).model
    assert [(grid.height, grid.width, grid.kept_tokens) for grid in manifest.grids] == [(4, 4, 5), (4, 6, 7)]
    reference = TorchEngine(StagedModel(build_family(model, GRIDS), PruneOptions(method, rate=RATE)))
    for photos in (images(), images()[1:]):
        asked = runner.ask(TEXT, photos)
        assert [grid_of(asked, nth) for nth in range(len(photos))] == [photo.size[::-1] for photo in photos]
        engines = (reference, runner.engine, asked.prompt, asked.pixels)
        differences: tuple[Difference, ...] = compare_stages(manifest, *engines)
        assert {one.stage for one in differences} >= {"vision", "embed", "head", "prune", "tail, pruned"}
        assert max(one.relative for one in differences) <= relative
        assert all(one.equal for one in differences if one.equal is not None)
        for prune in (True, False):
            agreed = compare_generation(manifest, *engines, tokens=tokens, prune=prune, report=print)
            assert (agreed.tokens_fraction, agreed.overlap_fraction) == (1.0, 1.0)
    assert_says_which_grid(runner, images())


def assert_says_which_grid(runner: Any, images: list[Image.Image]) -> None:
    result = runner.answer(Request(images, TEXT, max_tokens=1))
    assert [(seen.image, seen.height, seen.width) for seen in result.seen] == [(0, 4, 4), (1, 4, 6)]
    assert [image.visual_tokens for image in result.pruned] == [16, 24]


def grid_of(asked: Question, image: int) -> tuple[int, int]:
    """The size in pixels that an image is seen with."""
    [view] = asked.images[image].views
    return view.view.height_px, view.view.width_px
