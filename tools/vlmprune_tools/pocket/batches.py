"""Training rows: one picture's visual tokens, then many questions that do not see each other."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vlmprune_export.pocket.language import END_ID, START_ID
from vlmprune_export.pocket.tower import GRID
from vlmprune_tools.pocket.features import Seen
from vlmprune_tools.pocket.labels import shown_by
from vlmprune_tools.pocket.questions import FAMILIES, Question
from vlmprune_tools.pocket.scenes import EDGE, GONE
from vlmprune_tools.pocket.tokens import Tokens

ALL_VISUAL = GRID * GRID
NOT_ASKED = -100
PADDING = -1
FULL_VIEW = 40.0  # sampling weight that the tokens of one object share


@dataclass(frozen=True)
class Batch:
    """Rows of [start, visual tokens, questions]; `segments` is 0 for what every question sees."""

    ids: Tensor  # (B, T)
    labels: Tensor  # (B, T): the next token where it is part of an answer
    families: Tensor  # (B, T): number of the family at an answer's words, PADDING at its end token
    positions: Tensor  # (B, T)
    segments: Tensor  # (B, T)
    features: Tensor  # (B, visual, F)
    shown: Tensor  # (B, visual): number of the label of the object a visual token is mostly on, or PADDING
    spans: list["Span"] = field(default_factory=list)


@dataclass(frozen=True)
class Span:
    """Where an answer's tokens are predicted."""

    row: int
    start: int
    question: Question
    answer_ids: tuple[int, ...]


def make_batch(
    examples: Sequence[Seen],
    asked: Sequence[Sequence[Question]],
    tokens: Tokens,
    visual: int,
    question_tokens: int,
) -> Batch:
    """`visual` of the visual tokens of each example (true positions), and as many questions as fit."""
    kept = [keep_visual(example.owner, visual) for example in examples]
    features = torch.stack([example.features()[index] for example, index in zip(examples, kept, strict=True)])
    shown = torch.stack([shown_by(example)[index] for example, index in zip(examples, kept, strict=True)])
    batch = empty_batch(torch.stack(kept), question_tokens, features, shown)
    for row, questions in enumerate(asked):
        at, segment = 1 + visual, 1
        for question in questions:
            prompt, answer = tokens.question(question[1]), tokens.answer(question[2])
            if at + len(prompt) + len(answer) > batch.ids.shape[1]:
                break
            write_question(batch, Span(row, at + len(prompt) - 1, question, answer), at, prompt, segment)
            at, segment = at + len(prompt) + len(answer), segment + 1
    return batch


def empty_batch(kept: Tensor, question_tokens: int, features: Tensor, shown: Tensor) -> Batch:
    """Rows with their visual tokens and no question yet."""
    rows, visual = kept.shape
    shape = (rows, 1 + visual + question_tokens)
    ids, segments = torch.full(shape, END_ID), torch.full(shape, PADDING)
    positions = torch.full(shape, 1 + ALL_VISUAL)
    ids[:, 0], positions[:, 0] = START_ID, 0
    positions[:, 1 : 1 + visual] = kept + 1
    segments[:, : 1 + visual] = 0
    labels, families = torch.full(shape, NOT_ASKED), torch.full(shape, PADDING)
    return Batch(ids, labels, families, positions, segments, features, shown)


def write_question(batch: Batch, span: Span, at: int, prompt: Sequence[int], segment: int) -> None:
    """Put one question and its answer into a row, from column `at`."""
    whole = [*prompt, *span.answer_ids]
    row, stop, count = span.row, at + len(whole), len(span.answer_ids)
    batch.ids[row, at:stop] = torch.tensor(whole)
    batch.positions[row, at:stop] = torch.arange(1 + ALL_VISUAL, 1 + ALL_VISUAL + len(whole))
    batch.segments[row, at:stop] = segment
    batch.labels[row, span.start : span.start + count] = torch.tensor(span.answer_ids)
    batch.families[row, span.start : span.start + count - 1] = FAMILIES.index(span.question[0])
    batch.spans.append(span)


def keep_visual(owner: Tensor, visual: int) -> Tensor:  # (N,) -> (visual,)
    """A random subset in image order in which tokens on objects are more frequent; all when `visual` is N.

    A small object keeps nearly all of its few tokens, or it would be asked for without being seen.
    """
    if visual >= len(owner):
        return torch.arange(len(owner))
    tokens_of = (owner[owner >= 0].long().bincount(minlength=1)).clamp(min=1)
    weight = torch.where(owner >= 0, (FULL_VIEW / tokens_of[owner.clamp(min=0).long()]).clamp(min=2.5), 1.0)
    weight = torch.where(owner == EDGE, 2.0, weight)
    weight = torch.where(owner == GONE, 0.0, weight)
    return torch.multinomial(weight, visual, replacement=False).sort().values


def attention_mask(segments: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:  # (B, T) -> (B, 1, T, T)
    """Additive: causal, and a question sees the shared part and itself only."""
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mine = (segments[:, None, :] == 0) | (segments[:, None, :] == segments[:, :, None])
    return torch.zeros(mine.shape, dtype=dtype).masked_fill(~(causal & mine), float("-inf"))[:, None]


def shuffled(questions: list[Question], rng: random.Random) -> list[Question]:
    """The questions in a random order."""
    return rng.sample(questions, len(questions))
