"""Weights on few values: outputs move less than by plain rounding, and only what shall be changed is."""

import re

import pytest
import torch
from test_staged_model import question
from torch import Tensor, nn

from tiny import tiny_llava
from vlmprune_export import gptq, quantisation_grids, tail_rounding
from vlmprune_export.calibration import VISUAL_WEIGHT, Calibration
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.gptq import DAMPING, add_moments, gptq_quantize, round_to_grid
from vlmprune_export.quantisation_grids import BlockGrid, LutGrid
from vlmprune_export.stage_modules import DecoderStage
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.tail_rounding import fit_tail, round_tail
from vlmprune_runtime.geometry import View
from vlmprune_runtime.preprocess import ImageView
from vlmprune_runtime.prompt import ImagePlace
from vlmprune_runtime.question import Question, SeenImage

SHIFTED = BlockGrid(16, lowest=0, highest=15, zero_point=True)
LEVELS_OF = {"symmetric": BlockGrid(16), "full": BlockGrid(16, lowest=-8), "shifted": SHIFTED, "palettes": LutGrid(8)}


def layer_and_inputs() -> tuple[Tensor, Tensor]:
    """A weight (24, 48) and inputs (400, 48) that hang together."""
    return torch.randn(24, 48), torch.randn(400, 12) @ torch.randn(12, 48) + 0.1 * torch.randn(400, 48)


@pytest.mark.parametrize("kind", LEVELS_OF)
def test_outputs_move_less_than_half_as_much_as_by_plain_rounding(kind: str) -> None:
    (weight, inputs), levels = layer_and_inputs(), LEVELS_OF[kind]
    found = gptq_quantize(weight, inputs.t() @ inputs, levels)
    errors = [((inputs @ (other - weight).t()) ** 2).mean() for other in (found, round_to_grid(weight, levels))]
    assert errors[0] < 0.5 * errors[1]


def test_a_block_has_whole_numbers_of_a_scale_that_its_largest_tells() -> None:
    weight, inputs = layer_and_inputs()
    blocks = gptq_quantize(weight, inputs.t() @ inputs, BlockGrid(16)).unflatten(1, (-1, 16))
    steps = blocks / (blocks.abs().amax(2, keepdim=True) / 7)
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert len(steps.round().unique()) == 15


def test_a_block_with_a_zero_point_has_it_and_its_scale_told_by_its_ends() -> None:
    weight, inputs = layer_and_inputs()
    blocks = gptq_quantize(weight + 0.5, inputs.t() @ inputs, SHIFTED).unflatten(1, (-1, 16))
    scales = (blocks.amax(2, keepdim=True).clamp(min=0) - blocks.amin(2, keepdim=True).clamp(max=0)) / 15
    steps = blocks / scales
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert (steps.round().amax(2) - steps.round().amin(2) == 15).float().mean() > 0.9


def test_errors_are_corrected_as_in_the_papers_algorithm() -> None:
    """Algorithm 1 of the paper with the inverse of the moments, column by column."""
    (weight, inputs), grid = layer_and_inputs(), BlockGrid(16)
    moments = inputs.t() @ inputs
    damped = moments + DAMPING * moments.diagonal().mean() * torch.eye(48)
    inverse = torch.linalg.cholesky(torch.linalg.inv(damped.double()), upper=True).float()
    rounding, rest, expected = grid.fit(weight, damped.diagonal()), weight.clone(), torch.empty_like(weight)
    for column in range(48):
        expected[:, column] = rounding(column, rest[:, column].contiguous())
        error = (rest[:, column] - expected[:, column]) / inverse[column, column]
        rest[:, column:] -= torch.outer(error, inverse[column, column:])
    assert torch.allclose(gptq_quantize(weight, moments.triu(), grid), expected, atol=1e-5)


def test_moments_are_sums_over_all_rows_in_the_upper_triangle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptq, "_STRIPE", 5)
    moments, rows = torch.zeros(12, 12), torch.randn(2, 30, 12)
    for part in rows:
        add_moments(moments, part)
    assert torch.allclose(moments.triu(), (rows.flatten(0, 1).t() @ rows.flatten(0, 1)).triu(), atol=1e-4)


def test_a_layer_is_fitted_as_if_alone(staged: StagedModel) -> None:
    """Query, key and value are fitted at once; the key on its own gives the same weights."""
    rows, stage = list(calibration().tail_rows(staged)), DecoderStage(staged.family, 2, 3)
    key = stage.layers[0].self_attn.k_proj
    [(layers, moments)] = tail_rounding._moments(stage, rows, [key])
    assert layers == [key]
    alone = gptq_quantize(key.weight.data, moments, BlockGrid(16))
    tail_rounding._fit(stage, rows, BlockGrid(16))
    assert torch.allclose(key.weight, alone, atol=1e-6)


def test_without_fitting_weights_are_the_nearest_on_the_grid(staged: StagedModel) -> None:
    before, told = weights(staged.tail.module), []
    round_tail(staged, BlockGrid(48), told.append)
    assert (told[0], told[-1]) == ("rounding matrix 1 of 12", "rounding matrix 12 of 12")
    assert len(changed(before, staged.tail.module)) == 12
    name = "layers.0.self_attn.q_proj.weight"
    assert torch.equal(staged.tail.module.state_dict()[name], round_to_grid(before[name], BlockGrid(48)))


def test_a_long_fit_is_announced(staged: StagedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(tail_rounding, "_flops_per_second", lambda: 1e5)
    fit_tail(staged, BlockGrid(16), calibration(), told.append)
    assert re.fullmatch(r"note: fitting the 4-bit weights takes about \d+ min; --fit none .*", told[0])
    assert re.fullmatch(r"fitting layer 3 of 4, about \d+ min left", told[1])
    assert told[2] == "fitting layer 4 of 4, about 5 s left"  # as the layer before took


def test_tables_are_the_means_of_their_values() -> None:
    """Twenty rounds over running sums give what a plain k-means gives."""
    values, importance = torch.randn(3, 200), torch.rand(200)
    found = quantisation_grids._centres(values, importance)
    nearest = (values[:, :, None] - found[:, None, :]).abs().argmin(2)
    for group, row, table in zip(values, nearest, found, strict=True):
        for place, centre in enumerate(table):
            members = row == place
            mean = (group * importance)[members].sum() / importance[members].sum()
            assert centre == pytest.approx(float(mean), abs=0.05)


def test_a_group_has_at_most_sixteen_values() -> None:
    weight, inputs = layer_and_inputs()
    found = gptq_quantize(weight, inputs.t() @ inputs, LutGrid(8))
    assert [len(group.unique()) for group in found.split(8)] == [16, 16, 16]


def test_weights_of_zero_and_inputs_that_are_never_seen_are_no_trouble() -> None:
    weight = torch.zeros(16, 32)
    weight[0, 0] = 3.0
    for levels in LEVELS_OF.values():
        found = gptq_quantize(weight, torch.zeros(32, 32), levels)
        assert torch.allclose(found, weight, atol=1e-6)


@pytest.fixture
def staged() -> StagedModel:
    return StagedModel(build_family(tiny_llava("llama", "clip")), PruneOptions(keep=8))


def calibration() -> Calibration:
    seen = ImageView(torch.randn(3, 56, 56).numpy(), View("only", (0, 0, 56, 56), 56, 56))
    return Calibration((Question(question(), (SeenImage((seen,), ImagePlace((0,))),)),))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def test_only_the_tails_layers_that_fit_are_changed(staged: StagedModel) -> None:
    head, tail, told = weights(staged.stages["head"].module), weights(staged.tail.module), []
    fit_tail(staged, BlockGrid(48), calibration(), told.append)  # 80 inputs of down_proj are no whole number of blocks
    assert [line.split(",")[0] for line in told] == ["fitting layer 3 of 4", "fitting layer 4 of 4"]
    assert not changed(head, staged.stages["head"].module)
    assert {name.split(".")[-2] for name in changed(tail, staged.tail.module)} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
    }  # fmt: skip


def test_all_of_a_fitted_tails_weights_have_few_values(staged: StagedModel) -> None:
    fit_tail(staged, LutGrid(16), calibration(), lambda line: None)
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
