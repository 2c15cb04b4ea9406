"""What is packed computes what was trained, and only the updates and the projector are trained."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pocket_training.adapted_model import adapt, averaged, load_packed, packed, updates
from vlmprune_export.pocket_model.trained_weights import merged
from vlmprune_export.pocket_model.vision_tower import FEATURE_LAYERS
from vlmprune_runtime.errors import BadRequest


def test_the_merged_model_computes_what_the_adapted_one_does(tiny_model: Any, changed: Any) -> None:
    tensors, whole = packed(changed), copy.deepcopy(tiny_model)
    for part in ("vision_tower", "language_model"):
        module = getattr(whole, part)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(merged(before, tensors, part))
        assert any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())
    pixels, ids = torch.rand(1, 3, 336, 336), torch.arange(20, 60)[None]
    with torch.inference_mode():
        for model in (changed.float(), whole):
            seen = model.vision_tower(pixels, output_hidden_states=True).hidden_states[FEATURE_LAYERS[-1]]
            hidden = model.language_model(input_ids=ids).last_hidden_state
            if model is changed:
                expected = seen, hidden
    assert torch.allclose(seen, expected[0], atol=1e-4)
    assert torch.allclose(hidden, expected[1], atol=1e-4)


def test_packed_tensors_are_loaded_also_at_a_lower_rank(changed: Any, new_model: Callable[[], Any]) -> None:
    """The update computes the same, and the rest of the rank can still be trained."""
    tensors = packed(changed)
    load_packed(again := adapt(new_model()), tensors)
    assert all(torch.equal(value, tensors[name]) for name, value in packed(again).items())
    low = {name: value[:8] if "lora_A" in name else value[:, :8] for name, value in tensors.items() if "lora" in name}
    load_packed(again := adapt(new_model()), low)
    for name, update in updates(again):
        wanted = low[f"{name}.lora_B.weight"].float() @ low[f"{name}.lora_A.weight"].float()
        assert torch.allclose(update.lora_b @ update.lora_a, wanted, atol=1e-5)
        assert update.lora_a[8:].abs().sum() > 0


def test_updates_stand_beside_the_upper_layers_of_the_tower_and_all_of_the_language_model(adapted: Any) -> None:
    names = [name for name, _ in updates(adapted)]
    assert len(names) == 6 * 6 + 2 * 7
    assert "vision_tower.encoder.layer.4.attention.q_proj" in names
    assert not any(name.startswith("vision_tower.encoder.layer.3.") for name in names)
    trained = {name for name, value in adapted.named_parameters() if value.requires_grad}
    assert all("lora" in name or name.startswith("multi_modal_projector.") for name in trained)


def test_results_are_averaged() -> None:
    parts = [{"x": torch.full((2, 3), value).half()} for value in (1.0, 4.0)]
    mean = averaged(parts)["x"]
    assert mean.dtype == torch.float16 and mean.tolist() == [[2.5] * 3] * 2
    with pytest.raises(BadRequest, match="different tensors"):
        averaged([parts[0], {"x": torch.zeros(3, 2).half()}])
