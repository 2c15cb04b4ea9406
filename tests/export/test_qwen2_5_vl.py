"""Qwen2.5-VL in stages against Hugging Face: windows, several grids, positions of three axes, several images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracle import masked_logits
from PIL import Image
from transformers import BatchFeature

from grid_bundles import assert_equals_pytorch, export_grids
from photos import odd_images, photos
from tiny_qwen2_5_vl import GRIDS, IMAGE_TOKEN_ID, SIDE_PX, images, tiny_processor, tiny_qwen2_5_vl
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_export.processor import image_spec, prompt_spec
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.decode import decode
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.image_loading import to_rgb
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.question import Question, ask, see
from vlmprune_runtime.state import State

TEXT = "what is in the picture?"
ASKED = pytest.mark.parametrize("images", [images()[:1], images(), images()[::-1]], ids=["one", "two", "turned"])


def engine_of(model: Any, **options: Any) -> TorchEngine:
    return TorchEngine(StagedModel(build_family(model, GRIDS), PruneOptions(**{"rate": 0.7, **options})))


def question_of(engine: TorchEngine, images: list[Image.Image]) -> Question:
    """The question as a bundle's runner asks it."""
    family, processor = engine.staged.family, tiny_processor()
    parts = (processor.tokenizer.backend_tokenizer, prompt_spec(processor, family.model))
    return ask(engine.staged.pipeline, image_spec(processor.image_processor, family), parts, TEXT, images)


def run(engine: TorchEngine, question: Question, *, prune: bool = True) -> State:
    return prefill(engine.staged.pipeline, engine, question.prompt, question.pixels, prune=prune)


def hugging_face(images: list[Image.Image]) -> BatchFeature:
    """The question as Hugging Face's processor makes it: template, one token per merged patch, patches."""
    processor = tiny_processor()
    found = processor.image_processor(images, return_tensors="pt")
    content = [*[{"type": "image"}] * len(images), {"type": "text", "text": TEXT}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], chat_template=processor.chat_template, add_generation_prompt=True,
        tokenize=False,
    )  # fmt: skip
    for grid in found["image_grid_thw"]:
        text = text.replace(processor.image_token, "<|placeholder|>" * (int(grid.prod()) // 4), 1)
    ids = processor.tokenizer(text.replace("<|placeholder|>", processor.image_token), return_tensors="pt")["input_ids"]
    return BatchFeature({"input_ids": ids, "mm_token_type_ids": (ids == IMAGE_TOKEN_ID).int(), **found})


@ASKED
def test_unpruned_is_hugging_face(images: list[Image.Image]) -> None:
    model, asked = tiny_qwen2_5_vl(), hugging_face(images)
    engine = engine_of(model)
    question = question_of(engine, images)
    assert question.prompt.token_ids.tolist() == asked["input_ids"][0].tolist()
    with torch.no_grad():
        expected = model(**asked).logits[0, -1].numpy()
    np.testing.assert_allclose(run(engine, question, prune=False).logits, expected, atol=1e-4)


@ASKED
def test_unpruned_generates_the_same_tokens(images: list[Image.Image]) -> None:
    model, asked = tiny_qwen2_5_vl(), hugging_face(images)
    made = model.generate(**asked, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    engine, tokens = engine_of(model), list[int]()
    state = run(engine, question_of(engine, images), prune=False)
    for _ in range(8):
        state.logits[model.generation_config.eos_token_id] = -np.inf  # as min_new_tokens does
        tokens.append(int(state.logits.argmax()))
        state = decode(engine.staged.pipeline, engine, tokens[-1], state)
    assert tokens == made[0, asked["input_ids"].shape[1] :].tolist()
    assert len(set(tokens)) > 1


@ASKED
@pytest.mark.parametrize("layer", [1, 2])
def test_pruned_is_the_masked_oracle(images: list[Image.Image], layer: int) -> None:
    model, asked = tiny_qwen2_5_vl(), hugging_face(images)
    engine = engine_of(model, layer=layer)
    question = question_of(engine, images)
    state, kept, fused, before = run(engine, question), list[np.ndarray](), list[np.ndarray](), 0
    for selection, grid in zip(state.selections, question.prompt.grids, strict=True):
        kept.append(selection.kept + before)
        fused.append(selection.fused)
        before += GRIDS[grid][0] * GRIDS[grid][1]
    more = {name: value for name, value in asked.items() if name not in ("input_ids", "pixel_values")}
    expected = masked_logits(
        model, asked["input_ids"][0], asked["pixel_values"], layer, torch.from_numpy(np.concatenate(kept)),
        torch.from_numpy(np.concatenate(fused)), **more,
    )  # fmt: skip
    np.testing.assert_allclose(state.logits, expected.numpy(), atol=1e-4)
    assert np.abs(state.logits - run(engine, question, prune=False).logits).max() > 1e-4


@pytest.mark.parametrize("grid", [(5, 3), (1, 7), (4, 4)])
def test_windows_at_the_edge_are_smaller(grid: tuple[int, int]) -> None:
    model, pixels = tiny_qwen2_5_vl(), torch.rand(1, 3, grid[0] * SIDE_PX, grid[1] * SIDE_PX)
    family, processor = build_family(model, [grid]), tiny_processor().image_processor
    patches, high, wide = processor.patchify(pixels[0].numpy(), 4, 2, 2)
    with torch.no_grad():
        given = torch.from_numpy(np.array(patches)).reshape(high * wide, -1)
        expected = model.model.get_image_features(given, torch.tensor([[1, high, wide]])).pooler_output[0]
        found = family.features(pixels, 0)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)


def test_pixels_are_the_processors_where_its_own_size_is_a_grid() -> None:
    """And of whatever shape an image is, it is seen on the grid nearest in shape."""
    model, processor, met = tiny_qwen2_5_vl(), tiny_processor().image_processor, 0
    family = build_family(model, GRIDS)
    spec, pipeline = image_spec(processor, family), StagedModel(family, PruneOptions(rate=0.5)).pipeline
    everything = {**photos(), **odd_images()}
    sizes = [(32, 32), (33, 47), (61, 60), (50, 77), (200, 300)]
    everything |= {f"{height} x {width}": Image.new("RGB", (width, height), (9, 99, 200)) for height, width in sizes}
    for image in map(to_rgb, everything.values()):
        seen = see(pipeline, spec, image)
        shape = [grid.height / grid.width for grid in pipeline.grids]
        off = [max(one * image.width / image.height, image.height / (one * image.width)) for one in shape]
        assert off[seen.place.grids[0]] == min(off)
        if max(image.size) >= 200 * min(image.size):
            continue
        theirs = processor(image, return_tensors="np")
        if tuple(theirs["image_grid_thw"][0][1:] // 2) == GRIDS[seen.place.grids[0]]:
            high, wide = theirs["image_grid_thw"][0][1:]
            cut = theirs["pixel_values"].reshape(high // 2, wide // 2, 2, 2, 3, 2, 4, 4)[:, :, :, :, :, 0]
            expected = cut.transpose(4, 0, 2, 5, 1, 3, 6).reshape(3, high * 4, wide * 4)
            gap = np.abs(preprocess(image, spec)[0] - expected) * np.array(spec.normalise.std)[:, None, None]
            assert gap.max() <= 1 / 255 + 1e-6
            met += 1
    assert met > 3


def test_other_grids_than_the_towers_are_refused() -> None:
    from tiny import tiny_llava

    with pytest.raises(BadRequest, match="grids: got 4x4; the tower of llava takes 7x7 only"):
        build_family(tiny_llava(), [(4, 4)])


def test_a_pruner_that_reads_the_tower_is_refused() -> None:
    with pytest.raises(BadRequest, match="the tower of qwen2_5_vl does not show tower_"):
        engine_of(tiny_qwen2_5_vl(), method="visionzip", layer=None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_grids(tmp_path_factory.mktemp("qwen2_5_vl"), "onnx")


def test_two_grids_in_onnx_equal_pytorch(bundle: Path) -> None:
    assert_equals_pytorch(bundle, relative=1e-5)


def test_weights_of_all_grids_are_stored_once(bundle: Path) -> None:
    parts = build_family(tiny_qwen2_5_vl()).vision_modules
    weights_bytes = 4 * sum(weight.numel() for part in parts for weight in part.parameters())
    assert (bundle / "vision.onnx.data").stat().st_size > weights_bytes
    assert (bundle / "vision_1.onnx.data").stat().st_size < weights_bytes / 2
    manifest = open_bundle(bundle).manifest
    assert {"vision.onnx.data", "vision_1.onnx.data"} == set(manifest.stage("vision").data)
    files = {file for stage in manifest.stages.values() for file in stage.files}
    on_disk = sum(manifest.files[file].size_bytes for file in files)
    assert manifest.memory.weights_bytes > on_disk + weights_bytes / 2  # in memory each grid's graph has them


@pytest.mark.parametrize("nth", range(len(GRIDS)))
def test_the_check_passes_on_either_grid(bundle: Path, tmp_path: Path, nth: int) -> None:
    images()[nth].save(tmp_path / "image.png")
    report = check_bundle(CheckRequest(bundle, image=tmp_path / "image.png", prompt=TEXT, tokens=4))
    assert report.failures() == []
