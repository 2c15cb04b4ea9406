"""A quick look at a run on cached dev features: questions packed, answers teacher-forced.

An answer counts when each of its tokens is the most probable one, which is when greedy decoding says it. The
figures that are published come from `evaluate`, which asks the real model.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch

from vlmprune_tools.pocket.batches import ALL_VISUAL, Batch, make_batch
from vlmprune_tools.pocket.evaluate import Asked, score
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.questions import questions
from vlmprune_tools.pocket.training import Trainer
from vlmprune_tools.progress import track

ROWS, QUESTION_TOKENS = 4, 160


@torch.inference_mode()
def quick_score(trainer: Trainer, examples: Sequence[Example], concepts: Sequence[str]) -> dict[str, Any]:
    """Accuracy per family."""
    found: list[Asked] = []
    for start in track(range(0, len(examples), ROWS), "dev"):
        rows = examples[start : start + ROWS]
        rng = random.Random(start)
        asked = [questions(example.scene, concepts, rng) for example in rows]
        found += answers(trainer, make_batch(rows, asked, trainer.tokens, ALL_VISUAL, QUESTION_TOKENS))
    return score(found)


def answers(trainer: Trainer, batch: Batch) -> list[Asked]:
    """What each packed question is answered with: the right answer, or something else."""
    hidden, found = trainer.hidden(batch), []
    for span in batch.spans:
        logits = trainer.decoder.logits(hidden[span.row, span.start : span.start + len(span.answer_ids)])
        right = tuple(logits.argmax(-1).tolist()) == span.answer_ids
        found.append(Asked(*span.question, span.question[2] if right else ""))
    return found
