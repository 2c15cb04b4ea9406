"""What pruners read of the decoder, against Hugging Face's own attention; and bundles of methods that read it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tiny import IMAGE_TOKEN_ID, tiny_llava, write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.families import build_family
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_export.parity.stage_differences import selection_differences
from vlmprune_export.pruners.sparsevlm.method import rating_text
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.prompt import EncodedPrompt, expand_image_tokens

N, LAYER = 49, 2
IN_TOWER = {"place": "tower"}
READERS = ("fastv", "dart", "sparsevlm", "cdpruner-embed", "divprune")
"""Methods that read each a different part of the sequence."""


def question() -> EncodedPrompt:
    ids = np.array([1, 5, 6, IMAGE_TOKEN_ID, 7, 8, 9], dtype=np.int64)
    return expand_image_tokens(ids, IMAGE_TOKEN_ID, [N])


def kept_by(method: str, pixels: torch.Tensor, **settings: object) -> list[int]:
    options = PruneOptions(method, LAYER, 9, settings=settings)
    engine = TorchEngine(StagedModel(build_family(tiny_llava()), options))
    return list(prefill(engine.staged.pipeline, engine, question(), [pixels.numpy()]).selections[0].kept)


@torch.no_grad()
def attention_of_hugging_face(pixels: torch.Tensor) -> torch.Tensor:  # -> (Hq, S, S)
    """The probabilities of the layer before the cut, from Hugging Face's eager attention."""
    model = tiny_llava()
    model.set_attn_implementation({"text_config": "eager"})
    ids = torch.from_numpy(question().token_ids)[None]
    return model(input_ids=ids, pixel_values=pixels, output_attentions=True).attentions[LAYER - 1][0]


def test_fastv_ranks_by_hugging_faces_attention() -> None:
    pixels = torch.randn(1, 3, 56, 56)
    row = attention_of_hugging_face(pixels)[:, -1].mean(0)[3 : 3 + N]
    assert kept_by("fastv", pixels) == sorted(row.topk(9).indices.tolist())


def test_sparsevlm_rates_by_hugging_faces_attention() -> None:
    """Its own tokens are the best rated; merged ones come on top of them."""
    pixels, model = torch.randn(1, 3, 56, 56), tiny_llava()
    with torch.no_grad():
        visual = model.model.get_image_features(pixels, return_dict=True).pooler_output[0]
        text = model.get_input_embeddings()(torch.tensor([7, 8, 9]))
    raters = rating_text(visual, text, torch.ones(3, dtype=torch.bool)).bool()
    rows = attention_of_hugging_face(pixels)[:, -3:][:, raters].mean((0, 1))[3 : 3 + N]
    best = sorted(rows.topk(7).indices.tolist())
    kept = kept_by("sparsevlm", pixels, select=7)
    assert set(best) < set(kept) and len(kept) == 9


@pytest.mark.parametrize("method", READERS)
def test_a_bundle_of_it_passes_the_check(method: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    request = ExportRequest(
        tmp_path / "bundle", str(checkpoint), prune=PruneOptions(method, keep=11), context_tokens=96
    )
    report = check_bundle(CheckRequest(export_bundle(request), prompt="what is in the picture ?", tokens=3))
    assert report.failures() == []
    assert {row.output for row in report.differences if row.equal is not None} == {"kept", "rank"}


def test_an_output_that_is_a_constant_outlives_the_quantisation(tmp_path: Path) -> None:
    """What stays of a tower that drops tokens is ranked by its place, so no node computes the ranks.

    The tower is quantised, so its choice is measured, not held to PyTorch's.
    """
    checkpoint, prune = write_checkpoint(tmp_path / "checkpoint"), PruneOptions("saint", keep=11, settings=IN_TOWER)
    request = ExportRequest(tmp_path / "bundle", str(checkpoint), "onnx", prune, "int8", context_tokens=96)
    report = check_bundle(CheckRequest(export_bundle(request), prompt="what is in the picture ?", tokens=3))
    assert report.failures() == []
    of_prune = {row.output: row for row in report.differences if row.stage == "prune"}
    assert set(of_prune) == {"share of other tokens", "fused, kept by both"}
    assert of_prune["fused, kept by both"].relative > 0


def test_what_a_checkpoint_does_not_have_is_said() -> None:
    family = build_family(tiny_llava())
    with pytest.raises(BadRequest, match=r"cdpruner needs CLIP's text tower.*allowed: cdpruner-embed"):
        StagedModel(family, PruneOptions("cdpruner", keep=9))


def test_the_second_sparsevlm_corrects_the_distances_of_the_context() -> None:
    """The tiny model has 256 positions, and its correction has a meaning up to 91."""
    family, options = build_family(tiny_llava()), PruneOptions("sparsevlm", LAYER, 9, settings={"plus": True})
    assert StagedModel(family, options, 91).cuts[0].modules[0].decay.shape == (91,)
    for context in (92, None):
        with pytest.raises(BadRequest, match=rf"up to 91 positions.*{context or 256}.*or a shorter --context"):
            StagedModel(family, options, context)


def test_a_choice_of_quantised_layers_has_the_limit_of_features() -> None:
    def outputs(*kept: int) -> dict[str, np.ndarray]:
        return {
            "kept": np.array(kept),
            "fused": np.array(kept, dtype=np.float32)[:, None],
            "rank": np.arange(len(kept)),
        }

    share, fused = selection_differences("prune", outputs(1, 2, 3, 9), outputs(1, 2, 3, 4))
    assert (share.max_abs, share.relative, share.equal, fused.relative) == (1.0, 0.25, None, 0.0)
    assert [row.relative for row in selection_differences("prune", outputs(5), outputs(6))] == [1.0]
