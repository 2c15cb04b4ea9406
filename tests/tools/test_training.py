"""Training computes what HF's model computes, goes on where it stopped, and learns."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaModel

from vlmprune_export.pocket import language
from vlmprune_export.pocket.trained import merged
from vlmprune_tools.pocket import warm
from vlmprune_tools.pocket.__main__ import main
from vlmprune_tools.pocket.batches import ALL_VISUAL, attention_mask, keep_visual, make_batch
from vlmprune_tools.pocket.concepts import CONCEPTS
from vlmprune_tools.pocket.decoder import ROWS, Decoder, causal_attention
from vlmprune_tools.pocket.drawing import Group
from vlmprune_tools.pocket.features import Example, build_features, shard_examples, write_shard
from vlmprune_tools.pocket.fresh import Endless
from vlmprune_tools.pocket.labels import LABELS
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.questions import Question
from vlmprune_tools.pocket.scenes import CLEAN, Scene, draw_scene
from vlmprune_tools.pocket.shipping import shipped, take_up
from vlmprune_tools.pocket.smoke import (
    LAYERS,
    SETTINGS,
    VOCABULARY,
    WordTokenizer,
    drawn_artwork,
    random_language_weights,
    smoke_run,
)
from vlmprune_tools.pocket.sources import source
from vlmprune_tools.pocket.tokens import Tokens
from vlmprune_tools.pocket.training import Trainer

NAMES = list(CONCEPTS[:5])


class FlatTower(torch.nn.Module):
    """In place of a vision tower: the pixels' mean in every feature."""

    def forward(self, pixels: Tensor, output_hidden_states: bool) -> Any:
        """Eleven equal states."""
        state = pixels.mean((1, 2, 3))[:, None, None].expand(-1, 1 + ALL_VISUAL, 384)
        return type("Output", (), {"hidden_states": [state] * 11})


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Four scenes with features."""
    folder = tmp_path_factory.mktemp("features")
    artwork = drawn_artwork(folder / "artwork")
    drawn = [draw_scene("train", "hard", index, artwork) for index in range(4)]
    write_shard(folder / "000000.safetensors", drawn, FlatTower())
    return list(shard_examples(folder / "000000.safetensors"))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """A random two-layer Llama."""
    torch.manual_seed(0)
    return random_language_weights()


def decoder_with_update(weights: dict[str, Tensor]) -> Decoder:
    """In fp32, with an update that does something."""
    decoder = Decoder(weights, dtype=torch.float32)
    for value in decoder.lora.values():
        torch.nn.init.normal_(value, std=0.02)
    return decoder


def test_what_is_shipped_computes_what_was_trained(weights: dict[str, Tensor]) -> None:
    """HF's model with the packed update merged gives the training decoder's hidden states."""
    decoder = decoder_with_update(weights)
    take_up(packed := shipped(decoder, Projector()), decoder, Projector())  # both sides see fp16 values
    small = {"num_hidden_layers": LAYERS, "vocab_size": VOCABULARY}
    model = LlamaModel(LlamaConfig(**language.CONFIG | small)).eval()
    model.load_state_dict(merged(weights, packed))
    ids = torch.arange(20, 60)[None]
    with torch.inference_mode():
        got = decoder(decoder.embedding[ids], torch.arange(40)[None], attention_mask(torch.zeros(1, 40), torch.float32))
        want = model(input_ids=ids).last_hidden_state
    assert (got - want).abs().max() < 1e-4


def test_attention_some_queries_at_a_time_is_attention() -> None:
    """Values and gradients are those of PyTorch's, with questions that do not see each other."""
    torch.manual_seed(0)
    length = ROWS + 50
    mask = attention_mask(
        torch.cat([torch.zeros(1, ROWS), torch.ones(1, 20), torch.full((1, 30), 2.0)], 1), torch.float32
    )
    inputs = [torch.randn(1, 3, length, 64, requires_grad=True) for _ in range(3)]
    got, want = causal_attention(*inputs, mask), F.scaled_dot_product_attention(*inputs, attn_mask=mask)
    assert torch.allclose(got, want, atol=1e-5)
    for mine, theirs in zip(*(torch.autograd.grad(out.sum(), inputs) for out in (got, want)), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)


def test_questions_do_not_see_each_other(weights: dict[str, Tensor], examples: list[Example]) -> None:
    """A question packed with others is answered as it is alone."""
    trainer = Trainer(decoder_with_update(weights), Projector(), Tokens(WordTokenizer()), SETTINGS)
    first: Question = ("naming", "What is in the picture?", "dog")
    last: Question = ("presence", "Is there a cat?", "yes")
    together = make_batch(examples[:1], [[first, last]], trainer.tokens, ALL_VISUAL, 40)
    alone = make_batch(examples[:1], [[last]], trainer.tokens, ALL_VISUAL, 40)
    with torch.inference_mode():
        got = trainer.hidden(together)[0, together.spans[1].start]
        want = trainer.hidden(alone)[0, alone.spans[0].start]
    assert torch.allclose(got, want, atol=1e-4)


def test_labels_are_the_next_tokens(examples: list[Example]) -> None:
    """Each answer token is predicted one place before it stands."""
    batch = make_batch(examples[:1], [[("naming", "What is it?", "dog")]], Tokens(WordTokenizer()), ALL_VISUAL, 16)
    (span,) = batch.spans
    stop = span.start + len(span.answer_ids)
    assert batch.ids[0, span.start + 1 : stop + 1].tolist() == list(span.answer_ids)
    assert batch.labels[0, span.start : stop].tolist() == list(span.answer_ids)
    assert span.answer_ids[-1] == language.END_ID


def test_sampled_visual_tokens_keep_their_positions(examples: list[Example]) -> None:
    """Position = 1 + index in the grid; questions start after all 576."""
    batch = make_batch(examples[:2], [[("naming", "What is it?", "dog")]] * 2, Tokens(WordTokenizer()), 100, 16)
    positions = batch.positions[:, 1:101]
    assert (positions.diff(dim=1) > 0).all()
    assert positions.min() >= 1
    assert positions.max() <= ALL_VISUAL
    assert (batch.positions[:, 101] == 1 + ALL_VISUAL).all()
    for row, example in enumerate(examples[:2]):
        assert torch.equal(batch.features[row], example.features()[positions[row] - 1])


def test_each_visual_token_knows_what_it_shows(examples: list[Example]) -> None:
    """Also where only some are sampled; without an object there is nothing to name."""
    batch = make_batch(examples, [[]] * len(examples), Tokens(WordTokenizer()), 100, 16)
    for row, example in enumerate(examples):
        names = [item.concept for item in example.scene.objects]
        owners = example.owner[batch.positions[row, 1:101] - 1].tolist()
        assert [LABELS[number] if number >= 0 else None for number in batch.shown[row].tolist()] == [
            names[owner] if owner >= 0 else None for owner in owners
        ]
    assert (batch.shown >= 0).any()


def test_seeing_is_learned_from_every_visual_token(weights: dict[str, Tensor], examples: list[Example]) -> None:
    """The loss falls when a token's output points at its label's word; no object, no loss."""
    trainer = Trainer(Decoder(weights, dtype=torch.float32), Projector(), Tokens(WordTokenizer()), SETTINGS)
    batch = make_batch(examples, [[]] * len(examples), trainer.tokens, ALL_VISUAL, 16)
    hidden = torch.zeros(len(examples), batch.ids.shape[1], language.CONFIG["hidden_size"])
    chance = trainer.seeing_loss(hidden, batch)
    hidden[:, 1 : 1 + ALL_VISUAL] = 50 * trainer.label_words[batch.shown.clamp(min=0)]
    assert trainer.seeing_loss(hidden, batch) < 0.5 * chance
    assert trainer.seeing_loss(hidden, replace(batch, shown=torch.full_like(batch.shown, -1))) == 0


def test_all_visual_tokens_are_all() -> None:
    """The last stage of training drops nothing."""
    assert torch.equal(keep_visual(torch.zeros(ALL_VISUAL), ALL_VISUAL), torch.arange(ALL_VISUAL))
    last = Trainer(Decoder(random_language_weights()), Projector(), Tokens(WordTokenizer()), SETTINGS)
    assert SETTINGS.full_from < 1
    assert last.settings.full_from * last.settings.steps < last.settings.steps - 1


def test_a_stopped_run_goes_on_to_the_same_weights(
    weights: dict[str, Tensor], examples: list[Example], tmp_path: Path
) -> None:
    """Killed between two checkpoints, it ends where an undisturbed run ends."""
    ends = []
    for name, stop in (("whole", None), ("stopped", 5)):
        for _ in range(2):
            torch.manual_seed(1)
            trainer = Trainer(Decoder(weights), Projector(), Tokens(WordTokenizer()), SETTINGS)
            if stop is not None:
                trainer.one_step = stop_at(trainer, stop)  # type: ignore[method-assign]
            try:
                trainer.fit([Group(1.0, examples)], NAMES, tmp_path / name)
            except KeyboardInterrupt:
                stop = None
        ends.append(shipped(trainer.decoder, trainer.projector))
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def stop_at(trainer: Trainer, step: int) -> Any:
    """A `one_step` that is interrupted at a step."""
    whole = trainer.one_step

    def one_step(at: int, *rest: Any) -> Any:
        if at == step:
            raise KeyboardInterrupt
        return whole(at, *rest)

    return one_step


def test_smoke(tmp_path: Path) -> None:
    """Everything in small: the loss falls and the result can be packed."""
    random.seed(0)
    figures = smoke_run(tmp_path)
    assert figures["losses"][1] < figures["losses"][0]
    assert figures["packed_tensors"] == 4 + LAYERS * 7 * 2 + 6 * 6 * 2


def test_a_picture_of_nothing_warms_the_projector_with_its_colour() -> None:
    """No object, some patches of the background, numbered as its colour."""

    class Blank(Example):
        def features(self) -> Tensor:
            return torch.zeros(ALL_VISUAL, 768)

    _, label, place = warm.patches_of(Blank(Scene("empty", colour="red"), torch.full((ALL_VISUAL,), CLEAN), Path(), 0))
    assert label.dtype == torch.long
    assert {warm.LABELS[number] for number in label.tolist()} == {"red"}
    assert len(label) == len(place) == 8


def test_pictures_drawn_for_a_step_are_those_that_would_have_been_kept(tmp_path: Path) -> None:
    """The same scene, the same features, and as many as one likes."""
    artwork, tower = drawn_artwork(tmp_path / "artwork"), FlatTower()
    draw = source("hard", artwork)
    pictures = Endless(draw, tower)
    build_features(draw, "train", 2, tmp_path / "kept", tower)
    kept = list(shard_examples(tmp_path / "kept" / "000000.safetensors"))
    assert len(pictures) > 100_000
    for fresh, stored in zip(pictures[:2], kept, strict=True):
        assert fresh.scene == stored.scene
        assert torch.equal(fresh.owner, stored.owner)
        assert torch.equal(fresh.features(), stored.features())


def test_collages_need_kept_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before anything is loaded."""
    assert main(["train", "--fresh", "--dense-until", "0.5", "--out", str(tmp_path / "run")]) == 2
    assert "--fresh: collages" in capsys.readouterr().err
