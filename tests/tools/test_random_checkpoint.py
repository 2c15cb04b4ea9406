"""Random checkpoints have the published dimensions, and load and ask like the models that they stand for."""

from pathlib import Path

import pytest
import torch

from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.families import build_family
from vlmprune_export.processor import default_grids, image_spec, prompt_spec
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prompt import encode_prompt
from vlmprune_tools.random_checkpoint import MODELS, write_random_checkpoint

SMALL = {
    "text.hidden_size": 64, "text.intermediate_size": 96, "text.num_attention_heads": 4, "text.num_key_value_heads": 2,
    "text.rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}, "vision.depth": 2,
    "vision.hidden_size": 32, "vision.intermediate_size": 48, "vision.num_heads": 2, "vision.out_hidden_size": 64,
    "vision.fullatt_block_indexes": [1],
}  # fmt: skip


@pytest.mark.parametrize(("name", "weights"), [("qwen2_5_vl_3b", 3755), ("smolvlm_256m", 256), ("smolvlm_500m", 507)])
def test_the_number_of_weights_is_the_published_one(name: str, weights: int) -> None:
    published = MODELS[name]
    with torch.device("meta"):
        model = published.build(dict(published.text), dict(published.vision))
    assert round(sum(weight.numel() for weight in model.parameters()) / 1e6) == weights


def test_a_small_one_is_a_checkpoint(tmp_path: Path) -> None:
    weights = write_random_checkpoint("qwen2_5_vl_3b", tmp_path / "made", 3, SMALL)
    checkpoint = load_checkpoint(str(tmp_path / "made"), progress=lambda line: None)
    family = build_family(checkpoint.model, default_grids(checkpoint.processor.image_processor))
    assert len(family.layers) == 3
    assert sum(weight.numel() for weight in checkpoint.model.parameters()) == weights
    assert [grid.tokens for grid in family.grids] == [256, 192, 192, 240, 240]
    assert image_spec(checkpoint.processor.image_processor, family).geometric_steps
    spec = prompt_spec(checkpoint.processor, checkpoint.model)
    tokens = [grid.view_tokens for grid in family.grids]
    ids = encode_prompt(checkpoint.processor.tokenizer.backend_tokenizer, spec, tokens, "why?").token_ids
    assert ids[0] == 151644
    assert (ids == 151655).sum() == 256


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"setting .tower\.depth.: allowed: text\.NAME or vision\.NAME"):
        write_random_checkpoint("smolvlm_256m", tmp_path / "made", 1, {"tower.depth": 1})
