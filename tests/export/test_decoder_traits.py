"""What few decoders do, on toys of LLaVA: features added to hidden states, attention both ways, sliding windows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracle import masked_logits
from torch import Tensor

from tiny import IMAGE_TOKEN_ID, tiny_llava, write_checkpoint
from vlmprune_export import export_bundle as exporting
from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import DecoderTraits, Family, build_family
from vlmprune_export.parity.stage_differences import compare_stages
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.decode import decode
from vlmprune_runtime.engines import load_engine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.prompt import EncodedPrompt, expand_image_tokens
from vlmprune_runtime.state import State

LAYERS, FACTORS = (0, 2), (0.5, -0.75)
PROMPT = expand_image_tokens(np.array([1, 5, 6, IMAGE_TOKEN_ID, 7, 8, 9], dtype=np.int64), IMAGE_TOKEN_ID, [49])


def with_deepstack(family: Any) -> Any:
    """The family with its visual embeddings, each by a factor, added behind two layers."""

    def read_tower(pixels: Tensor, grid: int, names: Sequence[str]) -> tuple[Tensor, ...]:
        features = family.features(pixels, grid)
        return features, torch.stack([factor * features for factor in FACTORS], 1)

    family.traits = DecoderTraits(deepstack_layers=LAYERS)
    family.tower_shapes = {"deepstack": (len(LAYERS), family.text_model.hidden_size)}
    family.read_tower = read_tower
    return family


@contextmanager
def added(model: Any, features: Tensor) -> Iterator[None]:
    """Hugging Face's model with the same added behind its layers."""
    visual = torch.from_numpy(PROMPT.token_ids) == IMAGE_TOKEN_ID

    def hook(factor: float) -> Any:
        def add(_: Any, given: Any, hidden: Tensor) -> Tensor:
            hidden = hidden.clone()
            hidden[0, visual] += factor * features
            return hidden

        return add

    layers = model.model.language_model.layers
    hooks = [layers[at].register_forward_hook(hook(by)) for at, by in zip(LAYERS, FACTORS, strict=True)]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


def run(family: Family, pixels: Tensor, *, prune: bool, prompt: EncodedPrompt = PROMPT) -> State:
    engine = TorchEngine(StagedModel(family, PruneOptions(keep=8, settings={"aggregate": False})))
    return prefill(engine.staged.pipeline, engine, prompt, [pixels.numpy()], prune=prune)


def test_features_are_added_to_hidden_states() -> None:
    """Unpruned as Hugging Face with hooks, pruned as the masked oracle: behind the cut for kept tokens only."""
    model, pixels = tiny_llava(), torch.randn(1, 3, 56, 56)
    family = with_deepstack(build_family(model))
    ids = torch.from_numpy(PROMPT.token_ids)
    features = family.features(pixels, 0).detach()
    whole, pruned = (run(family, pixels, prune=prune) for prune in (False, True))
    with torch.no_grad(), added(model, features):
        expected = model(input_ids=ids[None], pixel_values=pixels).logits[0, -1].numpy()
        kept, fused = (torch.from_numpy(part) for part in (pruned.selections[0].kept, pruned.selections[0].fused))
        masked = masked_logits(model, ids, pixels, 2, kept, fused).numpy()
    np.testing.assert_allclose(whole.logits, expected, atol=1e-5)
    np.testing.assert_allclose(pruned.logits, masked, atol=1e-5)
    assert np.abs(whole.logits - run(build_family(model), pixels, prune=False).logits).max() > 1e-3


def test_new_tokens_get_nothing_added() -> None:
    model, pixels = tiny_llava(), torch.randn(1, 3, 56, 56)
    engine = TorchEngine(StagedModel(with_deepstack(build_family(model)), PruneOptions(keep=8)))
    state = prefill(engine.staged.pipeline, engine, PROMPT, [pixels.numpy()], prune=False)
    longer = EncodedPrompt(np.append(PROMPT.token_ids, 11), PROMPT.spans, PROMPT.grids)
    expected = prefill(engine.staged.pipeline, engine, longer, [pixels.numpy()], prune=False)
    np.testing.assert_allclose(decode(engine.staged.pipeline, engine, 11, state).logits, expected.logits, atol=1e-5)


def test_deepstack_in_onnx_equals_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "build_family", lambda model, grids: with_deepstack(build_family(model)))
    checkpoint, prune = write_checkpoint(tmp_path / "checkpoint"), PruneOptions("uniform", keep=8)
    bundle = exporting.export_bundle(
        exporting.ExportRequest(tmp_path / "out", str(checkpoint), prune=prune, context_tokens=96)
    )
    manifest, engine = open_bundle(bundle).manifest, load_engine(open_bundle(bundle))
    assert manifest.stage("head").inputs[-1].source == manifest.stage("tail").inputs[-1].source == "sequence.deepstack"
    model = load_checkpoint(str(checkpoint), progress=lambda line: None).model
    reference = TorchEngine(StagedModel(with_deepstack(build_family(model)), prune))
    pixels = np.random.default_rng(0).standard_normal((1, 3, 56, 56), dtype=np.float32)
    differences = compare_stages(manifest, reference, engine, PROMPT, [pixels])
    assert {one.output for one in differences} >= {"deepstack", "hidden", "logits"}
    assert max(one.relative for one in differences) < 1e-5


def test_visual_tokens_may_attend_both_ways() -> None:
    model, pixels = tiny_llava(), torch.randn(1, 3, 56, 56)
    family: Any = build_family(model)
    family.traits = DecoderTraits(image_attention="both_ways")
    ids = torch.from_numpy(PROMPT.token_ids)
    visual = ids == IMAGE_TOKEN_ID
    mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril() | (visual[:, None] & visual[None])

    def open_mask(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return args, {**kwargs, "attention_mask": mask[None, None]}

    hooks = [
        layer.register_forward_pre_hook(open_mask, with_kwargs=True) for layer in model.model.language_model.layers
    ]
    with torch.no_grad():
        expected = model(input_ids=ids[None], pixel_values=pixels, use_cache=False).logits[0, -1].numpy()
    for hook in hooks:
        hook.remove()
    found = run(family, pixels, prune=False).logits
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - run(build_family(model), pixels, prune=False).logits).max() > 1e-4


@pytest.mark.parametrize(
    ("traits", "target", "message"),
    [
        (DecoderTraits(window_tokens=7), "onnx", "decoder layers with a window of 7 tokens, which no target has yet"),
        (DecoderTraits(image_attention="both_ways"), "onnx", "attend both ways; no target has that yet"),
        (DecoderTraits(deepstack_layers=(0,)), "executorch", "deepstack.; allowed: onnx without quantisation"),
    ],
)
def test_what_no_target_has_is_refused(
    traits: DecoderTraits, target: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(model: Any, grids: Any) -> Any:
        family: Any = with_deepstack(build_family(model, grids))
        family.traits = traits
        if traits.window_tokens:
            family.layer_kinds = ("sliding", *family.layer_kinds[1:])
        return family

    monkeypatch.setattr(exporting, "build_family", build)
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(BadRequest, match=message):
        exporting.export_bundle(
            exporting.ExportRequest(tmp_path / "out", str(checkpoint), target, PruneOptions(keep=8), context_tokens=96)
        )
