"""SAINT inside the tower against the layers run one by one, tokens dropped where the released code drops them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tiny import TOWERS, tiny_llava
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.families.llava import LlavaFamily
from vlmprune_export.pruners.saint.tower import distinct_tokens, drop_counts
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.errors import BadRequest

PIXELS, TOKENS, KEEP = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(1)), 49, 20


def dropped_before_the_mlp(family: LlavaFamily, keep: int) -> tuple[Tensor, Tensor]:
    """The released code's order for CLIP: attention, tokens dropped, MLP; features of the second of three layers."""
    tower: Any = family.model.model.vision_tower  # type: ignore[union-attr]
    rows = tower.pre_layrnorm(tower.embeddings(PIXELS))
    for nth, layer in enumerate(tower.encoder.layers[:2]):
        normed = layer.layer_norm1(rows)
        rows = rows + layer.self_attn(normed)[0]
        if nth == 0:
            keys = layer.self_attn.k_proj(normed)[0].view(1 + TOKENS, 4, -1).mean(1)
            kept = distinct_tokens(keys[1:], drop_counts(TOKENS, keep, 16), "while")
            rows = rows[:, torch.cat([torch.zeros(1, dtype=torch.int64), kept + 1])]
        rows = rows + layer.mlp(layer.layer_norm2(rows))
    return kept, family.projector(rows[:, 1:])[0]


def inside_the_tower(family: LlavaFamily, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    staged = StagedModel(family, PruneOptions("saint", keep=keep, settings={"place": "tower"}))
    kept, fused, rank = staged.stages["prune"].module(PIXELS)
    return kept, fused, rank


@torch.no_grad()
def test_clip_drops_what_the_released_order_drops() -> None:
    family = LlavaFamily(tiny_llava())
    kept, fused, rank = inside_the_tower(family, KEEP)
    expected, features = dropped_before_the_mlp(family, KEEP)
    assert kept.tolist() == expected.tolist() and rank.tolist() == list(range(KEEP))
    torch.testing.assert_close(fused, features)


@pytest.mark.parametrize("tower", TOWERS)
@torch.no_grad()
def test_nothing_dropped_is_the_whole_tower(tower: str) -> None:
    family = LlavaFamily(tiny_llava("llama", tower))
    kept, fused, _ = inside_the_tower(family, TOKENS)
    assert kept.tolist() == list(range(TOKENS))
    torch.testing.assert_close(fused, family.features(PIXELS, 0))


@pytest.mark.parametrize("tower", TOWERS)
@torch.no_grad()
def test_a_captured_tower_drops_what_it_drops_in_eager_mode(tower: str) -> None:
    """While capturing, Hugging Face gives some towers' layers a mask of the whole image's length."""
    family = LlavaFamily(tiny_llava("llama", tower))
    staged = StagedModel(family, PruneOptions("saint", keep=KEEP, settings={"place": "tower"}))
    pruner = staged.stages["prune"].module.eval()
    captured = torch.export.export(pruner, (PIXELS,), strict=False).module()
    for ours, eager in zip(captured(PIXELS), pruner(PIXELS), strict=True):
        torch.testing.assert_close(ours, eager)


@pytest.mark.parametrize("tower", TOWERS)
@torch.no_grad()
def test_a_pruned_prompt_does_not_run_the_whole_tower(tower: str) -> None:
    staged = StagedModel(
        build_family(tiny_llava("llama", tower)), PruneOptions("saint", keep=9, settings={"place": "both"})
    )  # fmt: skip
    assert [(cut.at, cut.keep) for cut in staged.cuts] == [("vision", (32,)), ("layer", (9,))]
    assert "vision" not in staged.pipeline.stages_of_prompt(prune=True)
    assert "vision" in staged.pipeline.stages_of_prompt(prune=False)


def test_other_pruners_need_the_vision_stage() -> None:
    staged = StagedModel(build_family(tiny_llava()), PruneOptions("uniform", keep=9, settings={"place": "vision"}))
    assert staged.pipeline.stages_of_prompt(prune=True) == staged.pipeline.prefill


def test_features_of_the_first_layer_leave_nothing_to_save() -> None:
    model = tiny_llava()
    model.config.vision_feature_layer = 1
    with pytest.raises(BadRequest, match="the tower's first layer"):
        inside_the_tower(LlavaFamily(model), KEEP)
