"""The default model cut into stages, and exported: against Hugging Face, the masked oracle and eager PyTorch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import masked_logits
from transformers import LlavaForConditionalGeneration

from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.families import build_family
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.decode import decode
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.prompt import EncodedPrompt, Span
from vlmprune_runtime.sample import SAMPLE_IMAGE, SAMPLE_PROMPT

pytestmark = pytest.mark.pocket
LAYER, KEEP = 2, 64


@pytest.fixture(scope="module")
def model_and_inputs() -> tuple[LlavaForConditionalGeneration, dict[str, torch.Tensor]]:
    found = load_checkpoint("pocket", progress=lambda line: None)
    content = [{"type": "image"}, {"type": "text", "text": SAMPLE_PROMPT}]
    text = found.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = found.processor(text=text, images=load_image(SAMPLE_IMAGE), return_tensors="pt")
    assert isinstance(found.model, LlavaForConditionalGeneration)
    return found.model, dict(inputs)


@pytest.fixture(scope="module")
def engine(model_and_inputs: tuple[LlavaForConditionalGeneration, dict[str, torch.Tensor]]) -> TorchEngine:
    return TorchEngine(StagedModel(build_family(model_and_inputs[0]), PruneOptions(layer=LAYER, keep=KEEP)))


def encoded(inputs: dict[str, torch.Tensor], image_token_id: int) -> EncodedPrompt:
    ids = inputs["input_ids"][0].numpy()
    places = np.flatnonzero(ids == image_token_id)
    return EncodedPrompt(ids, (Span(int(places[0]), int(places[-1]) + 1),))


def test_unpruned_is_hugging_face(model_and_inputs, engine) -> None:  # type: ignore[no-untyped-def]
    model, inputs = model_and_inputs
    with torch.no_grad():
        expected = model(**inputs).logits[0, -1].numpy()
    made = model.generate(**inputs, max_new_tokens=12, min_new_tokens=12, do_sample=False)
    state = prefill(
        engine.staged.pipeline,
        engine,
        encoded(inputs, model.config.image_token_id),
        [inputs["pixel_values"].numpy()],
        prune=False,
    )
    np.testing.assert_allclose(state.logits, expected, atol=1e-4)
    tokens = []
    for _ in range(12):
        state.logits[model.generation_config.eos_token_id] = -np.inf  # as min_new_tokens does
        tokens.append(int(state.logits.argmax()))
        state = decode(engine.staged.pipeline, engine, tokens[-1], state)
    assert tokens == made[0, inputs["input_ids"].shape[1] :].tolist()


def test_pruned_is_the_masked_oracle(model_and_inputs, engine) -> None:  # type: ignore[no-untyped-def]
    model, inputs = model_and_inputs
    state = prefill(
        engine.staged.pipeline, engine, encoded(inputs, model.config.image_token_id), [inputs["pixel_values"].numpy()]
    )
    kept, fused = (torch.from_numpy(part) for part in (state.selections[0].kept, state.selections[0].fused))
    assert len(kept) == KEEP
    expected = masked_logits(model, inputs["input_ids"][0], inputs["pixel_values"], LAYER, kept, fused)
    np.testing.assert_allclose(state.logits, expected.numpy(), atol=1e-4)


def test_the_exported_bundle_passes_the_check(tmp_path: Path) -> None:
    bundle = export_bundle(ExportRequest(tmp_path / "bundle", prune=PruneOptions(layer=LAYER, keep=KEEP)))
    report = check_bundle(CheckRequest(bundle, tokens=32))
    assert report.failures() == []
    assert [(answer.agreed, answer.tokens) for answer in report.agreements] == [(32, 32), (32, 32)]
