"""Tuning the tower: what is packed computes what was tuned, a stopped run goes on, patches come nearer."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlmprune_export.pocket.trained import merged
from vlmprune_tools.pocket.__main__ import main
from vlmprune_tools.pocket.features import features_folder, vision_features
from vlmprune_tools.pocket.lowrank import packed_tower, take_up_tower, tower_tag, updates, upper_layers
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.scenes import CLEAN, EDGE, Drawn, Placed, Scene, draw_scene
from vlmprune_tools.pocket.sharpen import Aims
from vlmprune_tools.pocket.smoke import drawn_artwork, random_tower
from vlmprune_tools.pocket.targets import AIM_NUMBER, NONE, PAIRS, Targets, marks, picture_targets
from vlmprune_tools.pocket.tuning import Fresh, Source, Start, pictures, tune_tower, tuned_features, tuning_losses


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


def start_with(tower: nn.Module) -> Start:
    """Any projector and any embeddings."""
    torch.manual_seed(1)
    aims = Aims(torch.randn(len(AIM_NUMBER), 576), torch.randn(2, 576), 15.0)
    own = copy.deepcopy(tower)
    return Start(own, upper_layers(own), Projector(), aims, torch.randn(576))


def source_of(drawn: list[Drawn]) -> Source:
    """These pictures, again and again."""
    return Source(1.0, lambda _, index: drawn[index % len(drawn)])


def seen(scene: Scene, owner: dict[int, int]) -> Fresh:
    """A picture in which these patches belong to these objects and all others to none."""
    owners = np.full(576, CLEAN, np.int8)
    for at, number in owner.items():
        owners[at] = number
    return Fresh(Drawn(scene, np.zeros((1, 1, 3), np.uint8), owners), torch.zeros(576, 1))


def targets_for(scene: Scene, owner: dict[int, int]) -> Targets:
    """Targets of such a picture."""
    return picture_targets(seen(scene, owner))


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


def test_an_update_of_lower_rank_is_taken_up(tower: nn.Module) -> None:
    """It computes what it did, and the rest of the rank is there to learn."""
    packed = packed_tower(randomised(upper_layers(copy.deepcopy(tower))))
    low = {name: value[:8] if "lora_A" in name else value[:, :8] for name, value in packed.items()}
    take_up_tower(low, layers := upper_layers(copy.deepcopy(tower)))
    for name, update in updates(layers):
        wanted = low[f"{name}.lora_B.weight"].float() @ low[f"{name}.lora_A.weight"].float()
        assert torch.allclose(update.lora_b @ update.lora_a, wanted, atol=1e-5)
        assert update.lora_a[8:].abs().sum() > 0


def test_results_are_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tensor by tensor; those that do not fit together are refused and write nothing."""
    for name, value in (("a", 1.0), ("b", 4.0)):
        save_file({"x": torch.full((2, 3), value).half()}, tmp_path / name)
    save_file({"x": torch.zeros(3, 2).half()}, tmp_path / "other")
    files = [str(tmp_path / name) for name in ("a", "b", "out", "other")]
    assert main(["average", *files[:2], "--out", files[2]]) == 0
    found = load_file(files[2])["x"]
    assert found.dtype == torch.float16 and found.tolist() == [[2.5] * 3] * 2
    assert main(["average", files[0], files[3], "--out", str(tmp_path / "none")]) == 2
    assert "different tensors" in capsys.readouterr().err
    for wrong in (tmp_path / "missing", Path(__file__)):
        assert main(["average", files[0], str(wrong), "--out", str(tmp_path / "none")]) == 2
        assert f"{wrong}: not a file of trained tensors" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_packed_update_belongs_to_the_tower(tower: nn.Module) -> None:
    """Other parts of the model are left alone by it."""
    packed = packed_tower(randomised(upper_layers(copy.deepcopy(tower))))
    weights = {"layers.0.mlp.up_proj.weight": torch.ones(2, 2)}
    assert merged(weights, packed) == weights
    assert len(packed) == 2 * 6 * 6


def test_without_an_update_the_features_are_the_towers(tower: nn.Module, drawn: list[Drawn]) -> None:
    """Those that `features` stores."""
    with torch.inference_mode():
        got, want = tuned_features(start_with(tower), drawn), vision_features(tower, drawn).float()
    assert (got - want).norm() < 0.02 * want.norm()


def test_patches_come_nearer_and_the_rest_is_frozen(tower: nn.Module, drawn: list[Drawn], tmp_path: Path) -> None:
    """The loss falls; no weight of the tower itself changes."""
    start = start_with(tower)
    frozen = {name: value.clone() for name, value in start.tower.state_dict().items() if "lora" not in name}
    with torch.no_grad():
        before = tuning_losses(start, drawn)
    tune_tower(start, [source_of(drawn)], 12, tmp_path)
    with torch.no_grad():
        after = tuning_losses(start, drawn)
    assert all(after[name] < before[name] for name in ("belonging", "marking", "placing"))
    assert all(torch.equal(value, start.tower.state_dict()[name]) for name, value in frozen.items())
    assert any(update.lora_b.abs().max() > 0 for _, update in updates(start.layers))


def test_a_stopped_run_goes_on(tower: nn.Module, drawn: list[Drawn], tmp_path: Path) -> None:
    """A finished run's checkpoint is taken up: nothing is left to do, and nothing changes."""
    first, second = start_with(tower), start_with(tower)
    for start in (first, second):
        tune_tower(start, [source_of(drawn)], 3, tmp_path)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    assert packed_equal(packed_tower(first.layers), packed_tower(second.layers))
    assert all(
        torch.equal(value, second.projector.state_dict()[key]) for key, value in first.projector.state_dict().items()
    )


def test_the_pictures_of_a_step_depend_on_seed_and_step_only(drawn: list[Drawn]) -> None:
    """So that a run gone on from sees what it would have seen."""
    numbers = Source(1.0, lambda _, index: Drawn(Scene(str(index)), drawn[0].pixels, drawn[0].owner))
    kinds = [[item.scene.kind for item in pictures([numbers], seed, step)] for seed, step in ((0, 5), (0, 5), (0, 6))]
    assert kinds[0] == kinds[1] != kinds[2]


def packed_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """True when all tensors are equal."""
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_patches_on_an_object_aim_at_its_label_and_its_middle_is_marked() -> None:
    """A large object counts by the root of its patches; an edge counts less, and is marked when it is all there is."""
    scene = Scene("row", (Placed("dog", 0, 0, 42), Placed("cat", 140, 0, 14)))
    example = seen(scene, dict.fromkeys([0, 1, 2, 24, 25, 26, 48, 49, 50], 0) | {10: EDGE})
    targets = picture_targets(example)
    assert targets.aim[25] == AIM_NUMBER["dog"]
    assert targets.aim[10] == AIM_NUMBER["cat"]
    assert marks(example, torch.zeros(576)).nonzero()[:, 0].tolist() == [10, 25]
    assert targets.weight[targets.aim == AIM_NUMBER["dog"]].sum() == pytest.approx(3)
    assert targets.weight[10] == pytest.approx(0.3)


def test_the_patch_that_is_marked_most_stays_marked() -> None:
    """One of each object, if it is well ahead of the middle; another object's does not matter."""
    scene = Scene("row", (Placed("dog", 0, 0, 42), Placed("cat", 140, 0, 14)))
    example = seen(scene, dict.fromkeys([0, 1, 2, 24, 25, 26, 48, 49, 50], 0) | {10: 1})

    def marked(ways: dict[int, float]) -> list[int]:
        way = torch.zeros(576)
        for patch, value in ways.items():
            way[patch] = value
        found: list[int] = marks(example, way).nonzero()[:, 0].tolist()
        return found

    assert marked({}) == [10, 25]
    assert marked({1: 0.04, 10: 0.9}) == [10, 25]
    assert marked({1: 0.6, 25: 0.5, 300: 1.0}) == [1, 10]


def test_what_is_behind_aims_at_its_colour_where_it_has_one() -> None:
    """A photo without objects at what it shows first; other backgrounds nowhere."""
    objects = (Placed("dog", 0, 0, 14),)
    assert targets_for(Scene("one", objects, "green"), {0: 0}).aim[300] == AIM_NUMBER["green"]
    assert targets_for(Scene("one", objects, None, ("cat",)), {0: 0}).aim[300] == NONE
    assert targets_for(Scene("empty", shows=("cat", "eye")), {}).aim[300] == AIM_NUMBER["cat"]
    assert targets_for(Scene("empty"), {}).aim[300] == NONE


def test_easy_vqas_thing_aims_between_its_shape_and_its_colour() -> None:
    """Where the questions give both away; nothing of it is marked, for nothing is counted."""
    example = seen(Scene("easy-vqa", labels=("circle", "red")), {7: 0})
    targets = picture_targets(example)
    assert targets.aim[7] == AIM_NUMBER[PAIRS[0]]
    assert targets.weight[7] == 1
    assert not marks(example, torch.ones(576)).any()
    assert targets_for(Scene("easy-vqa", labels=("circle",)), {7: 0}).aim[7] == NONE


def test_features_are_told_apart_by_their_tower(tower: nn.Module) -> None:
    """No tag without an update; another one with other values."""
    layers = randomised(upper_layers(copy.deepcopy(tower)))
    first = tower_tag(packed_tower(layers))
    assert tower_tag({"multi_modal_projector.linear_1.weight": torch.ones(2)}) == ""
    assert features_folder("hard", "dev", first).name == f"hard-dev-{first}"
    assert first == tower_tag(packed_tower(layers)) != tower_tag(packed_tower(randomised(layers)))
