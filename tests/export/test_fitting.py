"""Weights on few values: outputs move less than by plain rounding, and only what shall be changed is."""

import pytest
import torch
from test_staged import question
from torch import Tensor, nn

from tiny import tiny_llava
from vlmprune_export.adapters import build_adapter
from vlmprune_export.calibration import VISUAL_WEIGHT, Calibration
from vlmprune_export.fitting import fit_tail
from vlmprune_export.gptq import Blocks, Levels, Palettes, rounded_weight
from vlmprune_export.staged import PruneOptions, StagedModel

SHIFTED = Blocks(16, lowest=0, highest=15, zero_point=True)
LEVELS_OF = {"symmetric": Blocks(16), "full": Blocks(16, lowest=-8), "shifted": SHIFTED, "palettes": Palettes(8)}


def layer_and_inputs() -> tuple[Tensor, Tensor]:
    """A weight (24, 48) and inputs (400, 48) that hang together."""
    return torch.randn(24, 48), torch.randn(400, 12) @ torch.randn(12, 48) + 0.1 * torch.randn(400, 48)


def plainly(weight: Tensor, levels: Levels) -> Tensor:
    """Every weight to its nearest value, none made good by another."""
    rounding = levels.fit(weight, torch.ones(weight.shape[1]))
    return torch.stack([rounding(column, weight[:, column].contiguous()) for column in range(weight.shape[1])], 1)


@pytest.mark.parametrize("kind", LEVELS_OF)
def test_outputs_move_less_than_half_as_much_as_by_plain_rounding(kind: str) -> None:
    (weight, inputs), levels = layer_and_inputs(), LEVELS_OF[kind]
    found = rounded_weight(weight, inputs.t() @ inputs, levels)
    errors = [((inputs @ (other - weight).t()) ** 2).mean() for other in (found, plainly(weight, levels))]
    assert errors[0] < 0.5 * errors[1]


def test_a_block_has_whole_numbers_of_a_scale_that_its_largest_tells() -> None:
    weight, inputs = layer_and_inputs()
    blocks = rounded_weight(weight, inputs.t() @ inputs, Blocks(16)).unflatten(1, (-1, 16))
    steps = blocks / (blocks.abs().amax(2, keepdim=True) / 7)
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert len(steps.round().unique()) == 15


def test_a_block_with_a_zero_point_has_it_and_its_scale_told_by_its_ends() -> None:
    weight, inputs = layer_and_inputs()
    blocks = rounded_weight(weight + 0.5, inputs.t() @ inputs, SHIFTED).unflatten(1, (-1, 16))
    scales = (blocks.amax(2, keepdim=True).clamp(min=0) - blocks.amin(2, keepdim=True).clamp(max=0)) / 15
    steps = blocks / scales
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert (steps.round().amax(2) - steps.round().amin(2) == 15).float().mean() > 0.9


def test_a_group_has_at_most_sixteen_values() -> None:
    weight, inputs = layer_and_inputs()
    found = rounded_weight(weight, inputs.t() @ inputs, Palettes(8))
    assert [len(group.unique()) for group in found.split(8)] == [16, 16, 16]


def test_weights_of_zero_and_inputs_that_are_never_seen_are_no_trouble() -> None:
    weight = torch.zeros(16, 32)
    weight[0, 0] = 3.0
    for levels in LEVELS_OF.values():
        found = rounded_weight(weight, torch.zeros(32, 32), levels)
        assert torch.allclose(found, weight, atol=1e-6)


@pytest.fixture
def staged() -> StagedModel:
    return StagedModel(build_adapter(tiny_llava("llama", "clip")), PruneOptions(keep=8))


def calibration() -> Calibration:
    return Calibration(((question(), torch.randn(1, 3, 56, 56).numpy()),))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def test_only_the_tails_layers_that_fit_are_changed(staged: StagedModel) -> None:
    head, tail, told = weights(staged.head), weights(staged.tail), []
    fit_tail(staged, Blocks(48), calibration(), told.append)  # 80 inputs of down_proj are no whole number of blocks
    assert told == ["fitting layer 3 of 4", "fitting layer 4 of 4"]
    assert not changed(head, staged.head)
    assert {name.split(".")[-2] for name in changed(tail, staged.tail)} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
    }  # fmt: skip


def test_all_of_a_fitted_tails_weights_have_few_values(staged: StagedModel) -> None:
    fit_tail(staged, Palettes(16), calibration(), lambda line: None)
    layers = [layer for layer in staged.tail.decoder.layers.modules() if isinstance(layer, nn.Linear)]
    assert len(layers) == 2 * 7
    for layer in layers:
        assert all(len(group.unique()) <= 16 for group in layer.weight.split(16))


def test_a_calibration_gives_the_rows_with_and_without_pruning(staged: StagedModel) -> None:
    pruned, unpruned = calibration().tail_rows(staged)
    assert [len(rows.hidden) for rows in (pruned, unpruned)] == [6 + 8, 6 + 49]
    assert unpruned.positions.tolist() == list(range(55))
    for rows, visual in ((pruned, 8), (unpruned, 49)):
        assert rows.weights.tolist() == pytest.approx([1.0] * 3 + [VISUAL_WEIGHT] * visual + [1.0] * 3)
