"""SmolVLM and Idefics3 against Hugging Face: prompts, pixels, logits, tokens; pruned against the masked oracle."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracle import masked_logits
from PIL import Image
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from tile_bundles import assert_passes_the_check, export_tiles, noise
from tiny_smolvlm import TILE_PX, TILE_TOKENS, tiny_processor, tiny_smolvlm
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_export.processor import image_spec, prompt_spec
from vlmprune_export.processor.tiles import image_lengths, layouts_of
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.decode import decode
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.prompt import ImagePlace, image_text
from vlmprune_runtime.question import Question, ask
from vlmprune_runtime.resize_modes import resized_size
from vlmprune_runtime.schema import ImageSpec
from vlmprune_runtime.state import State

KINDS = ("smolvlm", "idefics3")
QUESTION = "what is in the picture?"
SIZES = {"one": [(90, 40)], "two": [(61, 190), (70, 70)]}  # 3 x 2 tiles; 3 x 1 and 3 x 3 tiles
TILES = 3


def images(sizes: list[tuple[int, int]]) -> list[Image.Image]:
    dice = np.random.default_rng(3)
    return [Image.fromarray(dice.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in sizes]


def engine_of(model: Any, **options: Any) -> TorchEngine:
    return TorchEngine(StagedModel(build_family(model), PruneOptions(**{"keep": 4, **options})))


def question_of(engine: TorchEngine, kind: str, images: list[Image.Image], tiles: int = TILES) -> Question:
    processor, family = tiny_processor(kind, tiles=tiles), engine.staged.family
    parts = (processor.tokenizer.backend_tokenizer, prompt_spec(processor, family.model))
    return ask(engine.staged.pipeline, image_spec(processor.image_processor, family), parts, QUESTION, images)


def theirs(kind: str, images: list[Image.Image], tiles: int = TILES) -> dict[str, Any]:
    """What Hugging Face's processor makes of the same question."""
    processor = tiny_processor(kind, tiles=tiles)
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return dict(processor(text=text, images=images, return_tensors="pt", add_special_tokens=False))


def run(engine: TorchEngine, question: Question, *, prune: bool = True) -> State:
    return prefill(engine.staged.pipeline, engine, question.prompt, question.pixels, prune=prune)


def inputs_of(question: Question) -> dict[str, torch.Tensor]:
    """Our ids and pixels as Hugging Face's model takes them."""
    pixels = torch.from_numpy(np.concatenate(question.pixels))[None]
    return {"input_ids": torch.from_numpy(question.prompt.token_ids)[None], "pixel_values": pixels}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_prompt_ids_are_those_of_the_processor(kind: str, tiles: int) -> None:
    engine = engine_of(tiny_smolvlm(kind))
    for sizes in ([(90, 40)], [(31, 200)], [(5, 5)], [(200, 9), (64, 64), (33, 70)]):
        photos = images(sizes)
        question, expected = question_of(engine, kind, photos, tiles), theirs(kind, photos, tiles)
        assert question.prompt.token_ids.tolist() == expected["input_ids"][0].tolist()
        assert len(question.pixels) == expected["pixel_values"].shape[1]


def test_text_of_tiles_is_smolvlms_own() -> None:
    """SmolVLM's own processor needs torchvision; its function that writes the text of an image does not."""
    processor = tiny_processor()
    spec = prompt_spec(processor, tiny_smolvlm())
    for rows, columns in ((0, 0), (1, 3), (4, 2)):
        tokens = ("<fake_token_around_image>", "<image>", "<global-img>")
        expected = get_image_prompt_string(rows, columns, 1, *tokens)
        assert image_text(spec, ImagePlace((0,) * (rows * columns + 1), rows, columns)) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES)
def test_unpruned_is_hugging_face(kind: str, sizes: str) -> None:
    model = tiny_smolvlm(kind)
    engine = engine_of(model)
    question = question_of(engine, kind, images(SIZES[sizes]))
    with torch.no_grad():
        expected = model(**inputs_of(question)).logits[0, -1].numpy()
    np.testing.assert_allclose(run(engine, question, prune=False).logits, expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES)
def test_unpruned_generates_the_same_tokens(kind: str, sizes: str) -> None:
    model = tiny_smolvlm(kind)
    engine = engine_of(model)
    question, tokens = question_of(engine, kind, images(SIZES[sizes])), list[int]()
    inputs = inputs_of(question)
    made = model.generate(**inputs, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    state = run(engine, question, prune=False)
    for _ in range(8):
        state.logits[model.generation_config.eos_token_id] = -np.inf  # as min_new_tokens does
        tokens.append(int(state.logits.argmax()))
        state = decode(engine.staged.pipeline, engine, tokens[-1], state)
    assert tokens == made[0, inputs["input_ids"].shape[1] :].tolist()
    assert len(set(tokens)) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES)
def test_pruned_is_the_masked_oracle(kind: str, sizes: str) -> None:
    """Every view is pruned by its share."""
    model = tiny_smolvlm(kind)
    engine = engine_of(model)
    question = question_of(engine, kind, images(SIZES[sizes]))
    state = run(engine, question)
    assert [len(chosen.kept) for chosen in state.selections] == [4] * len(question.pixels)
    kept = np.concatenate([chosen.kept + TILE_TOKENS * nth for nth, chosen in enumerate(state.selections)])
    fused = np.concatenate([chosen.fused for chosen in state.selections])
    inputs = inputs_of(question)
    expected = masked_logits(
        model, inputs["input_ids"][0], inputs["pixel_values"], 2, torch.from_numpy(kept), torch.from_numpy(fused)
    )
    np.testing.assert_allclose(state.logits, expected.numpy(), atol=1e-4)
    assert np.abs(state.logits - run(engine, question, prune=False).logits).max() > 1e-4


@pytest.mark.parametrize("method", ["vlm-pruner", "fastv", "duet-vlm"])
def test_tiles_that_are_pruned_together_are_the_masked_oracle(method: str) -> None:
    """The tiles of an image share what they keep; the whole image is pruned on its own."""
    model, layouts = tiny_smolvlm(), tuple(tiles for tiles in layouts_of(spec_of(tiles=TILES)) if tiles != (0, 0))
    engine = engine_of(model, method=method, mosaics=layouts)
    question = question_of(engine, "smolvlm", images(SIZES["two"]))
    state = run(engine, question)
    last = [chosen for chosen in state.selections if chosen.cut == "prune"]
    counts = [len(chosen.kept) for chosen in last]
    assert (sum(counts[:3]), counts[3], sum(counts[4:-1]), counts[-1]) == (3 * 4, 4, 9 * 4, 4)
    assert set(counts) != {4}
    assert sorted(rank for chosen in last[:3] for rank in chosen.rank) == list(range(12))
    if method == "duet-vlm":  # it cuts twice, which the oracle of one cut does not know
        return
    kept = np.concatenate([chosen.kept + TILE_TOKENS * nth for nth, chosen in enumerate(last)])
    fused = np.concatenate([chosen.fused for chosen in last])
    inputs = inputs_of(question)
    expected = masked_logits(
        model, inputs["input_ids"][0], inputs["pixel_values"], 2, torch.from_numpy(kept), torch.from_numpy(fused)
    )
    np.testing.assert_allclose(state.logits, expected.numpy(), atol=1e-4)


def test_tiles_that_are_pruned_together_are_one_grid() -> None:
    """What is kept of them is what the pruner keeps of the rows of one large image, in its lines."""
    engine = engine_of(tiny_smolvlm(), method="uniform", mosaics=((1, 3),))
    question = question_of(engine, "smolvlm", images([(60, 20)]))
    tiles = [set(chosen.cells.tolist()) for chosen in run(engine, question).selections[:3]]
    site = engine.staged.cuts[0].modules[1]
    hidden = torch.randn(3 * TILE_TOKENS, 48)
    places, _, _ = site.within(*(hidden for _ in site.needs))
    side = math.isqrt(TILE_TOKENS)
    expected = [set[int]() for _ in tiles]
    for row, column in (divmod(place, 3 * side) for place in places.tolist()):
        expected[column // side].add(row * side + column % side)
    assert tiles == expected


def test_a_pruner_that_chooses_how_many_stay_sees_each_tile_on_its_own() -> None:
    options = {"method": "prumerge", "settings": {"adaptive": True}}
    engine_of(tiny_smolvlm(), **options)
    with pytest.raises(BadRequest, match="prumerge chooses how many tokens stay; allowed: each tile on its own"):
        engine_of(tiny_smolvlm(), **options, mosaics=((1, 2),))


def test_what_a_pruner_reads_of_the_tower_has_a_row_for_every_visual_token() -> None:
    family = build_family(tiny_smolvlm())
    features, *read = family.read_tower(torch.randn(1, 3, TILE_PX, TILE_PX), 0, tuple(family.tower_shapes))
    assert features.shape == (TILE_TOKENS, 48)
    assert [tuple(rows.shape) for rows in read] == [(TILE_TOKENS, *shape) for shape in family.tower_shapes.values()]


def test_layouts_are_all_that_images_can_have() -> None:
    spec = spec_of(tiles=TILES)
    found = set()
    for height in range(1, 300, 7):
        for width in range(1, 300, 7):
            high, wide = height, width
            for step in spec.geometric_steps:
                high, wide = resized_size(high, wide, step.to)
            found.add((high // TILE_PX, wide // TILE_PX))
    assert found == set(layouts_of(spec))
    assert layouts_of(spec)[-1] == (3, 3)
    assert layouts_of(spec_of(tiles=1)) == ((0, 0),)


def spec_of(tiles: int, override: int | None = None) -> ImageSpec:
    image_processor = tiny_processor(tiles=tiles).image_processor
    return image_spec(image_processor, build_family(tiny_smolvlm()), tiles=override)


def test_tiles_replace_the_size_of_the_processor() -> None:
    assert spec_of(tiles=3, override=2) == spec_of(tiles=2)
    with pytest.raises(BadRequest, match="tiles: got 0; allowed: 1 or more"):
        spec_of(tiles=3, override=0)


def test_the_largest_image_is_known() -> None:
    processor, model = tiny_processor(), tiny_smolvlm()
    question = question_of(engine_of(model), "smolvlm", images([(70, 70)]))
    prompt, tokenizer = prompt_spec(processor, model), processor.tokenizer.backend_tokenizer
    lengths = image_lengths(spec_of(tiles=TILES), prompt, tokenizer)
    assert [length.views for length in lengths] == [4, 7, 10]
    most = lengths[-1].tokens(TILE_TOKENS)
    first, last = (np.flatnonzero(question.prompt.token_ids == token) for token in (4, 4))
    assert most == last[-1] - first[0] + 1  # from the first <fake_token_around_image> to the last
    assert most > 10 * TILE_TOKENS


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of at most 2 x 2 tiles, where the checkpoint has 3 x 3."""
    return export_tiles(tmp_path_factory.mktemp("smolvlm"), "onnx", context_tokens=None)


@pytest.mark.parametrize(("views", "size"), [(3, (90, 40)), (5, (70, 70))])
def test_the_bundle_passes_the_check(bundle: Path, views: int, size: tuple[int, int]) -> None:
    assert_passes_the_check(bundle, views, size)


def test_kept_tokens_of_all_views_are_compared(bundle: Path, tmp_path: Path) -> None:
    noise(90, 40).save(tmp_path / "wide.png")
    noise(50, 50).save(tmp_path / "square.png")
    request = CheckRequest(bundle, image=tmp_path / "wide.png", prompt=QUESTION, tokens=1, image_folder=tmp_path)
    kept = check_bundle(request).kept
    assert kept is not None
    assert (kept.keep_by_picture, kept.mean_fraction) == ((5 * 4, 3 * 4), 1.0)


def test_tiles_that_are_pruned_together_pass_the_check(tmp_path: Path) -> None:
    """With VLM-Pruner, whose selection goes from neighbour to neighbour across the tiles."""
    bundle = export_tiles(tmp_path, "onnx", tiles_pruned="jointly")
    assert_passes_the_check(bundle, views=5, size=(70, 70), tokens=2)
    with pytest.raises(BadRequest, match="the image becomes 3 x 2 tiles; allowed: 1 x 2, 2 x 1, 2 x 2"):
        open_bundle(bundle).manifest.mosaic_index(3, 2)


def test_the_bundle_answers_about_two_pictures(bundle: Path) -> None:
    result = open_runner(bundle).answer(Request(images(SIZES["two"]), QUESTION, max_tokens=4))
    assert [(view.image, view.view) for view in result.pruned] == [
        *((0, nth) for nth in range(3)), *((1, nth) for nth in range(5)),
    ]  # fmt: skip
    assert [(view.row, view.column) for view in result.seen[:3]] == [(0, 0), (1, 0), (None, None)]


def test_the_context_holds_two_of_the_largest_images(bundle: Path, tmp_path: Path) -> None:
    assert open_bundle(bundle).manifest.context_tokens == 640  # twice 93 tokens of 5 views, and 448 of text
    with pytest.raises(BadRequest, match=r"takes \d+ tokens with its 8 images in 40 views, the context has 640"):
        open_runner(bundle).ask(QUESTION, images([(70, 70)]) * 8)
    with pytest.raises(BadRequest, match=r"context: got 90 tokens; allowed: 94 to 1024, for an image takes up to 93"):
        export_tiles(tmp_path, "onnx", context_tokens=90)
