"""Packed questions stand where they belong and do not see each other."""

from typing import Any

import torch

from pocket_training.answer_phase import hidden_states
from pocket_training.packing import SHARED, VISUAL, pack_rows
from pocket_training.tokens import Tokens
from vlmprune_export.pocket_model.language_model import END_ID
from vlmprune_tools.scenes.artwork import Artwork
from vlmprune_tools.scenes.rendering import render_scene
from vlmprune_tools.scenes.scene import Question

NAMING = Question("naming", "What is in the picture?", "dog")
PRESENCE = Question("presence", "Is there a cat?", "yes")


def test_labels_are_the_next_tokens(tokens: Tokens) -> None:
    rows = pack_rows([[NAMING]], tokens, 16)
    first = SHARED + len(tokens.question(NAMING.text)) - 1
    answer = list(tokens.answer("dog"))
    assert rows.ids[0, first + 1 : first + 3].tolist() == rows.labels[0, first : first + 2].tolist() == answer
    assert answer[-1] == END_ID
    assert rows.families[0, first : first + 2].tolist() == [0, -1]


def test_every_question_starts_after_all_visual_tokens(tokens: Tokens) -> None:
    rows = pack_rows([[NAMING, PRESENCE]], tokens, 40)
    assert rows.positions[0, : 1 + VISUAL].tolist() == list(range(1 + VISUAL))
    starts = [(rows.segments[0] == segment).nonzero()[0, 0] for segment in (1, 2)]
    assert [rows.positions[0, start].item() for start in starts] == [SHARED, SHARED]


def test_a_question_that_does_not_fit_is_left_out(tokens: Tokens) -> None:
    assert pack_rows([[NAMING, PRESENCE]], tokens, 12).segments.max() == 1


def test_a_question_packed_with_others_is_answered_as_alone(changed: Any, tokens: Tokens, artwork: Artwork) -> None:
    scenes = [render_scene("train", "hard", 0, artwork)]
    together, alone = (pack_rows([asked], tokens, 40) for asked in ([NAMING, PRESENCE], [PRESENCE]))
    with torch.inference_mode():
        got = hidden_states(changed, scenes, together)[0, together.segments[0] == 2]
        wanted = hidden_states(changed, scenes, alone)[0, alone.segments[0] == 1]
        first = hidden_states(changed, scenes, together)[0, together.segments[0] == 1][: len(wanted)]
    assert torch.allclose(got, wanted, atol=0.02 * wanted.abs().max())
    assert not torch.allclose(first, wanted, atol=0.02 * wanted.abs().max())
