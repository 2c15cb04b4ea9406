"""A recipe is replayed from one file: it learns, resumes, and says what cannot be replayed."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pocket_training.__main__ import main
from pocket_training.adapted_model import updates
from pocket_training.align_phase import align, alignment_losses
from pocket_training.answer_phase import answer, answer_losses, ask
from pocket_training.packing import pack_rows
from pocket_training.phases import Trainee, replay
from pocket_training.recipe import RECIPE, Align, Answer, Average, Recipe, read_recipe
from pocket_training.targets import LABELS, make_aims
from pocket_training.tokens import Tokens
from pocket_training.training_images import BatchSampler, batch_sampler
from pocket_training.training_loop import Course, optimise
from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_tools.scenes.artwork import Artwork
from vlmprune_tools.scenes.rendering import render_scene
from vlmprune_tools.scenes.scene import RenderedScene

MIX = {"hard": 2.0, "sign": 1.0}


@pytest.fixture(scope="module")
def scenes(artwork: Artwork) -> list[RenderedScene]:
    return [render_scene("train", "drill", index, artwork) for index in range(1)]


@pytest.fixture
def same_images(scenes: list[RenderedScene]) -> BatchSampler:
    return BatchSampler(((1.0, lambda split, index: scenes[index % len(scenes)]),))


def test_patches_come_nearer_and_the_rest_is_frozen(
    adapted: Any, tokens: Tokens, scenes: list[RenderedScene], same_images: BatchSampler, tmp_path: Path
) -> None:
    aims = make_aims(adapted.language_model.embed_tokens.weight, tokens)
    frozen = {name: value.clone() for name, value in adapted.named_parameters() if not value.requires_grad}
    with torch.no_grad():
        before = alignment_losses(adapted, aims, scenes)
    align(adapted, aims, same_images, Align("a", "nothing", {}, steps=15, rate=2e-2, pictures=1), tmp_path)
    with torch.no_grad():
        after = alignment_losses(adapted, aims, scenes)
    assert after["loss"] < before["loss"] and after["belonging"] < before["belonging"]
    assert all(torch.equal(value, frozen[name]) for name, value in adapted.named_parameters() if name in frozen)
    tower = [update for name, update in updates(adapted) if name.startswith("vision_tower")]
    assert any(update.lora_b.abs().max() > 0 for update in tower)


def test_questions_are_learned(
    adapted: Any, tokens: Tokens, scenes: list[RenderedScene], same_images: BatchSampler, tmp_path: Path
) -> None:
    """Also from what each visual token shows."""
    phase = Answer("a", "nothing", {}, steps=15, language_rate=3e-2, projector_rate=3e-2, pictures=1)
    rows = pack_rows([ask(rendered, phase, random.Random(0)) for rendered in scenes], tokens, phase.question_tokens)
    with torch.no_grad():
        before = answer_losses(adapted, tokens, scenes, rows, phase)
    answer(adapted, tokens, same_images, phase, tmp_path)
    with torch.no_grad():
        after = answer_losses(adapted, tokens, scenes, rows, phase)
    assert all(after[name] < before[name] for name in ("words", "seeing"))


def test_a_stopped_run_ends_at_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two checkpoints, it repeats the steps since the last one."""
    monkeypatch.setattr("pocket_training.training_loop.SAVE_EVERY", 3)
    ends = []
    for name, stop in (("whole", None), ("stopped", 5)):
        for _ in range(2):
            weight = torch.nn.Parameter(torch.ones(3))
            steps = 0

            def losses(rng: random.Random, weight: Any = weight, stop: int | None = stop) -> dict[str, Any]:
                nonlocal steps
                steps += 1
                if steps == stop:
                    raise KeyboardInterrupt
                return {"loss": (weight * rng.random()).pow(2).sum()}

            try:
                optimise(torch.optim.AdamW([weight], lr=0.1), losses, Course(8, 0.1, 0), tmp_path / name)
            except KeyboardInterrupt:
                stop = None
        ends.append(weight.detach())
    assert torch.equal(*ends)
    assert steps == 8 - 3


def test_images_depend_on_the_seed_only(artwork: Artwork) -> None:
    sampler = batch_sampler(MIX, artwork)
    first, again, other = (sampler.sample(random.Random(seed), 3) for seed in (1, 1, 2))
    assert [item.pixels.tobytes() for item in first] == [item.pixels.tobytes() for item in again]
    assert [item.pixels.tobytes() for item in first] != [item.pixels.tobytes() for item in other]


def test_all_phases_are_replayed_once(
    artwork: Artwork, tokens: Tokens, new_model: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every phase has its weights in a file, and the last one a record that `known_concepts` reads."""
    loaded: list[str] = []
    trainee = Trainee(artwork, lambda: loaded.append("model") or new_model(), lambda: Words(tokens))
    first = Align("first", "nothing", MIX, steps=1, tower=False)
    recipe = Recipe(
        ("google",),
        (
            first,
            Align("second", "first", MIX, steps=1, seed=1),
            Average("mean", ("first", "second")),
            Answer("third", "mean", MIX, steps=1),
        ),
    )
    last = replay(recipe, trainee, tmp_path / "run")
    assert last == tmp_path / "run" / "third.safetensors" and len(loaded) == 3
    assert json.loads(last.with_suffix(".json").read_text())["labels"] == list(LABELS)
    tower = "vision_tower.encoder.layer.4.mlp.fc1.lora_B.weight"
    assert load_file(tmp_path / "run" / "first.safetensors")[tower].abs().max() == 0
    assert load_file(tmp_path / "run" / "second.safetensors")[tower].abs().max() > 0
    whole = load_file(last)
    last.unlink()
    assert replay(recipe, trainee, tmp_path / "run") == last and len(loaded) == 4
    assert all(torch.equal(value, whole[name]) for name, value in load_file(last).items())


class Words:
    """The tokenizer behind some tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return list(self.tokens.encode(text))


def test_the_recipe_of_the_default_model_can_be_read() -> None:
    recipe = read_recipe(RECIPE)
    assert [phase.name for phase in recipe.phases] == ["projector", "tower", "tower-again", "tower-mean", "answers"]
    short = read_recipe(RECIPE, most_steps=2)
    assert {phase.steps for phase in short.phases if not isinstance(phase, Average)} == {2}
    assert recipe.as_json()["phases"][1]["mix"]["hard"] == 2.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "average"', 'kind = "mean"', "unknown kind of phase 'mean'; choose one of"),
        ('start = "tower-mean"', 'start = "later"', "unknown start of phase 'answers' 'later'"),
        ('of = ["tower", "tower-again"]', 'of = ["answers"]', "unknown start of phase 'tower-mean' 'answers'"),
        ('"google", ', '"facebook", ', "unknown vendor 'facebook'"),
        ("tower = false", "towers = false", "is not a recipe: .*towers"),
        ("vendors", "vendor", "is not a recipe: 'vendors'"),
        ("steps = 650", "steps =", "is not a recipe"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = RECIPE.read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    with pytest.raises((BadRequest, UnknownName), match=message):
        read_recipe(tmp_path / "mine.toml")
    assert main([str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()
