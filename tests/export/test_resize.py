"""The floor `resize`: a smaller image where it is pruned, with position embeddings as Hugging Face interpolates."""

from pathlib import Path

import pytest
import torch

from tiny import TOWERS, tiny_llava, write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.families import build_family
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_runtime.benchmark.measure import BenchmarkRequest, measure
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.cli.run import grid_notes
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.sample import SAMPLE_IMAGE


@pytest.mark.parametrize("tower", TOWERS)
def test_a_smaller_image_is_hugging_faces(tower: str) -> None:
    model, pixels = tiny_llava("llama", tower), torch.randn(1, 3, 32, 32)
    options = {} if tower == "dinov2" else {"interpolate_pos_encoding": True}  # DINOv2 always interpolates
    with torch.no_grad():
        expected = model.model.get_image_features(pixels, return_dict=True, **options).pooler_output[0]
        family = build_family(model, [(7, 7), (4, 4)])
        assert torch.equal(family.features(pixels, 1), expected)
        whole = torch.randn(1, 3, 56, 56)
        assert torch.equal(family.features(whole, 0), build_family(model).features(whole, 0))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resize")
    request = ExportRequest(
        folder / "bundle", str(write_checkpoint(folder / "checkpoint")), prune=PruneOptions("resize", keep=18),
        context_tokens=96,
    )  # fmt: skip
    return export_bundle(request)


def test_the_manifest_says_both_sizes(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert [(grid.height, grid.height_px) for grid in manifest.grids] == [(7, 56), (4, 32)]
    assert manifest.cuts == () and manifest.pruner.method == "resize"
    assert [manifest.image_steps(prune=prune).view_size.height_px for prune in (False, True)] == [56, 32]
    small, whole = manifest.grids[1].vision_flops, manifest.grids[0].vision_flops
    assert small is not None and whole is not None and small < whole / 2


def test_it_passes_the_check_at_both_sizes(bundle: Path) -> None:
    report = check_bundle(CheckRequest(bundle, prompt="what is in the picture ?", tokens=3))
    assert report.failures() == []
    assert {"vision", "vision, smaller image"} <= {row.stage for row in report.differences}


def test_runs_and_benchmarks_show_it_as_the_pruned_mode(bundle: Path) -> None:
    runner = open_runner(bundle)
    results = [runner.answer(Request(SAMPLE_IMAGE, "what ?", prune=prune, max_tokens=2)) for prune in (False, True)]
    assert results[0].prompt_tokens - results[1].prompt_tokens == 49 - 16
    [result] = measure([bundle], BenchmarkRequest(tokens=2, repetitions=1, warmups=1)).results
    assert (result.bundle.visual_tokens, result.bundle.keep) == (49, 16)
    assert result.pruned.flops.vision < result.unpruned.flops.vision
    whole, smaller = (list(grid_notes(runner.bundle.manifest, results[prune], prune=prune)) for prune in (False, True))
    [note] = smaller
    assert whole == []
    assert note.endswith("4 x 4 visual tokens (32 x 32 px), for the pruned mode scales images down")


def test_as_many_tokens_as_there_are_is_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(BadRequest, match="keep: got 49; resize needs fewer than the 49 tokens"):
        export_bundle(ExportRequest(tmp_path / "bundle", str(checkpoint), prune=PruneOptions("resize", keep=49)))
