"""The staged model against Hugging Face: unpruned the same, pruned equal to the masked oracle."""

import numpy as np
import pytest
import torch
from oracle import masked_logits
from torch import Tensor
from transformers import Dinov2WithRegistersConfig, LlavaForConditionalGeneration

from tiny import IMAGE_TOKEN_ID, TEXTS, TOWERS, tiny_llava
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.decode import decode, extend_steps
from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.prompt import EncodedPrompt, expand_image_tokens
from vlmprune_runtime.state import State, final_state

FAMILIES = [(text, tower) for text in TEXTS for tower in TOWERS]


def question() -> EncodedPrompt:
    return expand_image_tokens(np.array([1, 5, 6, IMAGE_TOKEN_ID, 7, 8, 9], dtype=np.int64), IMAGE_TOKEN_ID, [49])


def engine_of(model: LlavaForConditionalGeneration, **options: object) -> TorchEngine:
    return TorchEngine(StagedModel(build_family(model), PruneOptions(**{"keep": 8, **options})))  # type: ignore[arg-type]


def run(engine: TorchEngine, prompt: EncodedPrompt, pixels: Tensor, *, prune: bool = True) -> State:
    return prefill(engine.staged.pipeline, engine, prompt, [pixels.numpy()], prune=prune)


@pytest.mark.parametrize(("text", "tower"), FAMILIES)
def test_unpruned_is_hugging_face(text: str, tower: str) -> None:
    model, prompt, pixels = tiny_llava(text, tower), question(), torch.randn(1, 3, 56, 56)
    ids = torch.from_numpy(prompt.token_ids)[None]
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels).logits[0, -1].numpy()
    state = run(engine_of(model), prompt, pixels, prune=False)
    np.testing.assert_allclose(state.logits, expected, atol=1e-5)


@pytest.mark.parametrize(("text", "tower"), FAMILIES)
def test_unpruned_generates_the_same_tokens(text: str, tower: str) -> None:
    model, prompt, pixels = tiny_llava(text, tower), question(), torch.randn(1, 3, 56, 56)
    ids = torch.from_numpy(prompt.token_ids)[None]
    made = model.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    engine, tokens = engine_of(model), []
    state = run(engine, prompt, pixels, prune=False)
    for _ in range(8):
        state.logits[model.generation_config.eos_token_id] = -np.inf  # as min_new_tokens does
        tokens.append(int(state.logits.argmax()))
        state = decode(engine.staged.pipeline, engine, tokens[-1], state)
    assert tokens == made[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize(("text", "tower"), FAMILIES)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_pruned_is_the_masked_oracle(text: str, tower: str, layer: int) -> None:
    model, prompt, pixels = tiny_llava(text, tower), question(), torch.randn(1, 3, 56, 56)
    state = run(engine_of(model, layer=layer), prompt, pixels)
    kept, fused = (torch.from_numpy(part) for part in (state.selections[0].kept, state.selections[0].fused))
    expected = masked_logits(model, torch.from_numpy(prompt.token_ids), pixels, layer, kept, fused)
    np.testing.assert_allclose(state.logits, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("method", "settings"), [("uniform", {}), ("uniform", {"place": "vision"}), ("saint", {"place": "tower"})]
)
def test_a_cut_before_the_first_layer_is_the_masked_oracle(method: str, settings: dict[str, str]) -> None:
    model, prompt, pixels = tiny_llava(), question(), torch.randn(1, 3, 56, 56)
    engine = engine_of(model, method=method, layer=0, settings=settings)
    assert "head" not in engine.staged.stages
    state = run(engine, prompt, pixels)
    kept, fused = (torch.from_numpy(part) for part in (state.selections[0].kept, state.selections[0].fused))
    expected = masked_logits(model, torch.from_numpy(prompt.token_ids), pixels, 0, kept, fused)
    np.testing.assert_allclose(state.logits, expected.numpy(), atol=1e-5)


def test_two_cuts_are_one_after_the_other() -> None:
    """The second cut chooses among what the first has left; what it keeps is named by its place on the grid."""
    model, prompt, pixels = tiny_llava(), question(), torch.randn(1, 3, 56, 56)
    engine = engine_of(model, method="uniform", settings={"vision_keep": 20})
    state = run(engine, prompt, pixels)
    first, second = state.selections
    assert (first.cut, second.cut, len(first.kept), len(second.kept)) == ("prune_vision", "prune", 20, 8)
    assert second.cells.tolist() == first.cells[second.kept].tolist()
    assert state.past_tokens == {"head": len(prompt.token_ids) - 29, "tail": len(prompt.token_ids) - 41}
    assert engine.staged.pipeline.grids[0].mean_visual_tokens == (2 * 20 + 2 * 8) / 4
    whole = run(engine_of(model), prompt, pixels, prune=False)
    np.testing.assert_allclose(run(engine, prompt, pixels, prune=False).logits, whole.logits, atol=1e-6)


def test_more_text_behind_an_answer_is_the_longer_prompt() -> None:
    model, prompt, pixels = tiny_llava(), question(), torch.randn(1, 3, 56, 56)
    engine = engine_of(model, settings={"aggregate": False})
    more = np.array([11, 12, 13])
    expected = run(engine, EncodedPrompt(np.append(prompt.token_ids, more), prompt.spans), pixels)
    state = final_state(extend_steps(engine.staged.pipeline, engine, more, run(engine, prompt, pixels)))
    np.testing.assert_allclose(state.logits, expected.logits, atol=1e-5)
    assert state.next_position == expected.next_position


def test_pruning_changes_the_logits() -> None:
    model, prompt, pixels = tiny_llava(), question(), torch.randn(1, 3, 56, 56)
    engine = engine_of(model)
    pruned, whole = run(engine, prompt, pixels), run(engine, prompt, pixels, prune=False)
    assert np.abs(pruned.logits - whole.logits).max() > 1e-4


def test_pruned_decode_goes_on_at_the_unpruned_position() -> None:
    """One more prompt token or one decoded token: the same logits, kept tokens and positions alike."""
    model, pixels = tiny_llava(), torch.randn(1, 3, 56, 56)
    engine, prompt = engine_of(model, settings={"aggregate": False}), question()
    longer = EncodedPrompt(np.append(prompt.token_ids, 11), prompt.spans)
    expected = run(engine, longer, pixels)
    state = decode(engine.staged.pipeline, engine, 11, run(engine, prompt, pixels))
    assert state.selections[0].kept.tolist() == expected.selections[0].kept.tolist()
    np.testing.assert_allclose(state.logits, expected.logits, atol=1e-5)


def test_nothing_to_prune_is_the_unpruned_model() -> None:
    model, prompt, pixels = tiny_llava(), question(), torch.randn(1, 3, 56, 56)
    engine = engine_of(model, keep=49)
    everything, whole = run(engine, prompt, pixels), run(engine, prompt, pixels, prune=False)
    np.testing.assert_allclose(everything.logits, whole.logits, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "keep: got 0; allowed: 1 to 49"),
        ({"keep": 50}, "keep: got 50; allowed: 1 to 49"),
        ({"rate": 1.0, "keep": None}, "rate: got 1.0"),
        ({"rate": 0.5}, "keep or rate, not both"),
        ({"layer": 0}, "layer: got 0; vlm-pruner reads what a decoder layer computes; allowed: 1 to 3"),
        ({"layer": 4}, "layer: got 4; allowed: 0 to 3"),
        ({"method": "uniform", "settings": {"place": "tail"}}, "place is 'tail'; allowed: layer, vision"),
        ({"method": "uniform", "layer": 0, "settings": {"vision_keep": 20}}, "second cut before a decoder layer"),
        ({"method": "uniform", "settings": {"vision_keep": 50}}, "keep: got 50; allowed: 1 to 49"),
        ({"method": "uniform", "keep": 30, "settings": {"vision_keep": 20}}, "keep: got 30; allowed: 1 to 20"),
        ({"method": "vlm-prune"}, "unknown pruner 'vlm-prune'"),
        ({"settings": {"pivot": 1}}, "no setting 'pivot'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        engine_of(tiny_llava(), **options)


def test_rate_is_rounded() -> None:
    assert StagedModel(build_family(tiny_llava()), PruneOptions(rate=0.889)).pipeline.keep == round(49 * 0.111)


def test_unsupported_models_are_named() -> None:
    model = tiny_llava()
    model.config.text_config.model_type = "mamba"
    with pytest.raises(UnknownName, match="'mamba'; choose one of: llama, mistral, qwen2"):
        build_family(model)


def test_a_rope_that_depends_on_the_length_is_refused() -> None:
    model = tiny_llava()
    model.config.text_config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    with pytest.raises(UnknownName, match="rope type"):
        build_family(model)


def with_prefix(prefix: str) -> LlavaForConditionalGeneration:
    """A tower that gives rows of features before those of its patches."""
    config = tiny_llava().config
    if prefix == "cls":
        config.vision_feature_select_strategy = "full"
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
        config.vision_config = Dinov2WithRegistersConfig(**sizes, image_size=56, patch_size=8, num_register_tokens=4)
    torch.manual_seed(0)
    return LlavaForConditionalGeneration(config).eval()


@pytest.mark.parametrize(("prefix", "rows"), [("cls", 1), ("registers", 4)])
def test_rows_before_the_patches_are_never_pruned(prefix: str, rows: int) -> None:
    """Register tokens, or the CLS row where the strategy keeps it: Hugging Face's logits, and the masked oracle's."""
    model, pixels = with_prefix(prefix), torch.randn(1, 3, 56, 56)
    prompt = expand_image_tokens(
        np.array([1, 5, 6, IMAGE_TOKEN_ID, 7, 8, 9], dtype=np.int64), IMAGE_TOKEN_ID, [49 + rows]
    )
    engine, ids = engine_of(model), torch.from_numpy(prompt.token_ids)
    with torch.no_grad():
        expected = model(input_ids=ids[None], pixel_values=pixels).logits[0, -1].numpy()
    np.testing.assert_allclose(run(engine, prompt, pixels, prune=False).logits, expected, atol=1e-5)
    state = run(engine, prompt, pixels)
    assert state.past_tokens == {"head": 55 + rows, "tail": 6 + rows + 8}
    kept, fused = (torch.from_numpy(part) for part in (state.selections[0].kept, state.selections[0].fused))
    masked = masked_logits(model, ids, pixels, 2, kept, fused, rows)
    np.testing.assert_allclose(state.logits, masked.numpy(), atol=1e-5)


def test_rows_before_the_patches_need_a_cut_before_a_layer() -> None:
    with pytest.raises(BadRequest, match="no place in the image; allowed: a cut before a layer"):
        engine_of(with_prefix("registers"), method="uniform", layer=0)
