"""Tuning the tower: what is packed computes what was tuned, a stopped run goes on, labels come nearer."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlmprune_export.pocket.trained import merged
from vlmprune_tools.pocket.__main__ import main
from vlmprune_tools.pocket.drawing import Group
from vlmprune_tools.pocket.features import Example, features_folder, shard_examples, write_shard
from vlmprune_tools.pocket.labels import LABELS
from vlmprune_tools.pocket.lowrank import packed_tower, take_up_tower, tower_tag, updates, upper_layers
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.scenes import Drawn, draw_scene
from vlmprune_tools.pocket.sharpen import Aims
from vlmprune_tools.pocket.shipping import packed_projector
from vlmprune_tools.pocket.smoke import drawn_artwork, random_tower
from vlmprune_tools.pocket.tuning import Start, balanced, mean_class_token, projected_through, tune_tower, tuning_loss


@pytest.fixture(scope="module")
def tower() -> nn.Module:
    """A random one of the right shape."""
    torch.manual_seed(0)
    return random_tower()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Drawn]:
    """Three scenes."""
    artwork = drawn_artwork(tmp_path_factory.mktemp("artwork"))
    return [draw_scene("train", "hard", index, artwork) for index in range(3)]


@pytest.fixture(scope="module")
def examples(drawn: list[Drawn], tower: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """The scenes with their features."""
    path = tmp_path_factory.mktemp("features") / "000000.safetensors"
    write_shard(path, drawn, tower)
    return list(shard_examples(path))


def start_with(tower: nn.Module, drawn: list[Drawn]) -> Start:
    """Any projector and any embeddings."""
    torch.manual_seed(1)
    projector, aims = Projector(), Aims(torch.randn(len(LABELS), 576), torch.zeros(2, 576), 15.0)
    token = mean_class_token(tower, drawn)
    return Start(upper_layers(copy.deepcopy(tower)), projector, copy.deepcopy(projector), aims, token)


def randomised(layers: nn.ModuleList) -> nn.ModuleList:
    """With updates that do something."""
    for _, update in updates(layers):
        nn.init.normal_(update.lora_b, std=0.02)
    return layers


def test_what_is_packed_computes_what_was_tuned(tower: nn.Module) -> None:
    """HF's tower with the packed update merged, and layers that take it up, give what the tuned layers give."""
    packed = packed_tower(tuned := randomised(upper_layers(copy.deepcopy(tower))))
    take_up_tower(packed, tuned)  # both sides see fp16 values
    again = upper_layers(copy.deepcopy(tower))
    take_up_tower(packed, again)
    whole = copy.deepcopy(tower)
    whole.load_state_dict(merged(dict(tower.state_dict()), packed, "vision_tower"))
    with torch.inference_mode():
        states = whole(torch.rand(1, 3, 336, 336), output_hidden_states=True).hidden_states
        for layers in (tuned, again):
            x = states[4]
            for layer in layers:
                x = layer(x)
            assert torch.allclose(x, states[10], atol=1e-4)


def test_the_packed_update_belongs_to_the_tower(tower: nn.Module) -> None:
    """Other parts of the model are left alone by it."""
    packed = packed_tower(randomised(upper_layers(copy.deepcopy(tower))))
    weights = {"layers.0.mlp.up_proj.weight": torch.ones(2, 2)}
    assert merged(weights, packed) == weights
    assert len(packed) == 2 * 6 * 6


def test_without_an_update_the_features_are_the_cached_ones(
    tower: nn.Module, drawn: list[Drawn], examples: list[Example]
) -> None:
    """But for the class token, in whose place a mean stands."""
    start = start_with(tower, drawn)
    features = examples[0].features()[None]
    with torch.inference_mode():
        got, want = projected_through(start, features), start.projector(features.float())
    assert (got - want).norm() < 0.05 * want.norm()


def test_labels_come_nearer_and_the_rest_is_frozen(
    tower: nn.Module, drawn: list[Drawn], examples: list[Example], tmp_path: Path
) -> None:
    """The loss falls; no weight of the tower itself changes."""
    start = start_with(tower, drawn)
    frozen = {name: value.clone() for name, value in start.layers.state_dict().items() if "lora" not in name}
    with torch.no_grad():
        before = tuning_loss(start, examples)
    tune_tower(start, [Group(1.0, examples)], 12, tmp_path)
    with torch.no_grad():
        assert tuning_loss(start, examples) < before
    assert all(torch.equal(value, start.layers.state_dict()[name]) for name, value in frozen.items())
    assert any(update.lora_b.abs().max() > 0 for _, update in updates(start.layers))


def test_a_stopped_run_goes_on(tower: nn.Module, drawn: list[Drawn], examples: list[Example], tmp_path: Path) -> None:
    """A finished run's checkpoint is taken up: nothing is left to do, and nothing changes."""
    first = start_with(tower, drawn)
    tune_tower(first, [Group(1.0, examples)], 3, tmp_path)
    second = start_with(tower, drawn)
    tune_tower(second, [Group(1.0, examples)], 3, tmp_path)
    assert packed_equal(packed_tower(first.layers), packed_tower(second.layers))
    assert all(
        torch.equal(value, second.projector.state_dict()[key]) for key, value in first.projector.state_dict().items()
    )


def packed_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """True when all tensors are equal."""
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_large_object_does_not_drown_a_small_one(examples: list[Example]) -> None:
    """The weights of an object's patches add up to the root of their number, edges counting less."""
    label, weight = balanced(examples[0])
    for number in label[label >= 0].unique():
        mine = weight[label == number]
        plain = torch.where(mine == mine.max(), 1.0, 0.3).sum()
        assert mine.sum() == pytest.approx(float(plain.clamp(min=1).sqrt()), rel=0.02)


def test_features_are_told_apart_by_their_tower(tower: nn.Module) -> None:
    """No tag without an update; another one with other values."""
    layers = randomised(upper_layers(copy.deepcopy(tower)))
    first = tower_tag(packed_tower(layers))
    assert tower_tag({"multi_modal_projector.linear_1.weight": torch.ones(2)}) == ""
    assert features_folder("hard", "dev", first).name == f"hard-dev-{first}"
    assert first == tower_tag(packed_tower(layers)) != tower_tag(packed_tower(randomised(layers)))


def test_a_tuned_tower_is_not_tuned_again(tower: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its features would be those of another tower."""
    packed = packed_projector(Projector()) | packed_tower(upper_layers(copy.deepcopy(tower)))
    save_file(packed, tmp_path / "tuned.safetensors")
    assert main(["tune", "--init", str(tmp_path / "tuned.safetensors"), "--out", str(tmp_path / "run")]) == 2
    assert "tuned already" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
