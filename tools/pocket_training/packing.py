"""Packs training rows: one image's visual tokens, then many questions that do not see each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pocket_training.tokens import Tokens
from vlmprune_export.pocket_model.language_model import END_ID, START_ID
from vlmprune_export.pocket_model.vision_tower import GRID
from vlmprune_tools.scenes.questions import FAMILIES
from vlmprune_tools.scenes.scene import Question

VISUAL = GRID * GRID
SHARED = 1 + VISUAL  # the start token and the visual tokens, which every question sees
NOT_ASKED, PADDING = -100, -1


@dataclass(frozen=True)
class Rows:
    """Rows of start token, visual tokens and questions, B each; `segments` is 0 for what every question sees."""

    ids: Tensor  # (B, T)
    labels: Tensor  # (B, T): the next token where it is part of an answer, or NOT_ASKED
    families: Tensor  # (B, T): number of the family at an answer's words, PADDING at its end token
    positions: Tensor  # (B, T)
    segments: Tensor  # (B, T)


def pack_rows(asked: Sequence[Sequence[Question]], tokens: Tokens, question_tokens: int) -> Rows:
    """Packs as many questions about each image as fit into `question_tokens`."""
    rows = _empty_rows(len(asked), SHARED + question_tokens)
    for row, questions in enumerate(asked):
        at = SHARED
        for segment, question in enumerate(questions, start=1):
            prompt, answer = tokens.question(question.text), tokens.answer(question.answer)
            stop = at + len(prompt) + len(answer)
            if stop > rows.ids.shape[1]:
                break
            rows.ids[row, at:stop] = torch.tensor([*prompt, *answer])
            rows.positions[row, at:stop] = torch.arange(SHARED, SHARED + stop - at)
            rows.segments[row, at:stop] = segment
            first = at + len(prompt) - 1  # predicts the first token of the answer
            rows.labels[row, first : stop - 1] = torch.tensor(answer)
            rows.families[row, first : stop - 2] = FAMILIES.index(question.family)
            at = stop
    return rows


def _empty_rows(count: int, length: int) -> Rows:
    ids, segments = torch.full((count, length), END_ID), torch.full((count, length), PADDING)
    positions = torch.full((count, length), SHARED)
    ids[:, 0], segments[:, :SHARED] = START_ID, 0
    positions[:, :SHARED] = torch.arange(SHARED)
    return Rows(ids, torch.full_like(ids, NOT_ASKED), torch.full_like(ids, PADDING), positions, segments)


def attention_mask(segments: Tensor) -> Tensor:  # (B, T) -> (B, 1, T, T)
    """Returns an additive mask: causal, and a question sees the shared part and itself only."""
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
    return torch.zeros(visible.shape).masked_fill(~(causal & visible), torch.finfo(torch.float32).min)[:, None]
