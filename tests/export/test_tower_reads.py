"""What pruners read of a vision tower, against Hugging Face's own attention matrices and hidden states."""

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from tiny import TOWERS, tiny_llava
from vlmprune_export.families import build_family
from vlmprune_export.families.llava import LlavaFamily
from vlmprune_export.pruners.needs import TOWER_TENSORS
from vlmprune_runtime.errors import BadRequest

TOKENS, HEADS, PIXELS = 49, 4, torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(1))


def shown_by_hugging_face(model: LlavaForConditionalGeneration) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The tower's attention of each layer (heads, R, R) and its hidden states (R, D), prefix rows included."""
    model.set_attn_implementation({"vision_config": "eager"})
    shown = model.model.vision_tower(PIXELS, output_attentions=True, output_hidden_states=True)
    return [layer[0] for layer in shown.attentions], [states[0] for states in shown.hidden_states]


def of_one_head(model: LlavaForConditionalGeneration, tower: str) -> torch.Tensor:  # -> (N,)
    """The attention of the last layer with all channels as one head, from what its projections give."""
    given: dict[str, torch.Tensor] = {}
    for name, module in model.model.vision_tower.named_modules():
        if name.endswith((".q_proj", ".k_proj")):
            module.register_forward_hook(lambda _, rows, made, kind=name[-6:]: given.update({kind: made[0]}))
    model.model.vision_tower(PIXELS)
    query = given["q_proj"] if tower == "siglip" else given["q_proj"][:1]
    return (query @ given["k_proj"].mT / query.shape[1] ** 0.5).softmax(-1).mean(0)[-TOKENS:]


@pytest.mark.parametrize("tower", TOWERS)
@torch.no_grad()
def test_the_tower_shows_what_hugging_face_computes(tower: str) -> None:
    model = tiny_llava("llama", tower)
    family = build_family(model)
    features, *read = family.read_tower(PIXELS, 0, TOWER_TENSORS)
    shown = dict(zip(TOWER_TENSORS, read, strict=True))
    assert {name: rows.shape[1:] for name, rows in shown.items()} == family.tower_shapes
    assert torch.equal(features, family.features(PIXELS, 0))
    torch.testing.assert_close(family.projector(shown["tower_hidden"]), features)
    attentions, states = shown_by_hugging_face(model)
    layer = attentions[-2].mean(0)
    paid = layer.mean(0) if tower == "siglip" else layer[0]
    torch.testing.assert_close(shown["tower_attention"], paid[-TOKENS:], atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(shown["tower_last_attention"], of_one_head(model, tower), atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(shown["tower_late"], torch.stack(states[2:4]).mean(0)[-TOKENS:])


@torch.no_grad()
def test_keys_are_those_of_the_features_layer() -> None:
    model = tiny_llava()
    family = build_family(model)
    taken: list[torch.Tensor] = []
    model.model.vision_tower.encoder.layers[1].self_attn.k_proj.register_forward_hook(
        lambda _, given, made: taken.append(made[0, -TOKENS:])
    )
    _, keys = family.read_tower(PIXELS, 0, ("tower_keys",))
    torch.testing.assert_close(keys, taken[0].view(TOKENS, HEADS, -1).mean(1))


def test_features_of_no_layer_have_no_attention() -> None:
    model = tiny_llava()
    model.config.vision_feature_layer = 0
    with pytest.raises(BadRequest, match="vision_feature_layer: got 0; allowed"):
        LlavaFamily(model).read_tower(PIXELS, 0, ("tower_keys",))
