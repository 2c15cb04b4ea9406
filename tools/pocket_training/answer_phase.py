"""Trains the language model and the projector to answer questions about images, many of which share a row."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pocket_training.adapted_model import PROJECTOR, parameters_of
from pocket_training.align_phase import vision_features
from pocket_training.packing import NOT_ASKED, SHARED, Rows, attention_mask, pack_rows
from pocket_training.recipe import Answer
from pocket_training.targets import LABELS, shown_labels
from pocket_training.tokens import Tokens
from pocket_training.training_images import BatchSampler
from pocket_training.training_loop import Course, Losses, optimise
from vlmprune_tools.scenes.concepts import CONCEPTS
from vlmprune_tools.scenes.paraphrases import paraphrase
from vlmprune_tools.scenes.questions import FAMILIES, questions
from vlmprune_tools.scenes.scene import Question, RenderedScene

LOWEST_RATE = 0.03


def answer(model: Any, tokens: Tokens, sampler: BatchSampler, phase: Answer, folder: Path) -> None:
    """Trains in place; resumes from `folder`."""
    groups = [
        {"params": parameters_of(model, "language_model"), "lr": phase.language_rate},
        {"params": parameters_of(model, PROJECTOR), "lr": phase.projector_rate},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)

    def losses(rng: random.Random) -> Losses:
        scenes = sampler.sample(rng, phase.pictures)
        rows = pack_rows([ask(rendered, phase, rng) for rendered in scenes], tokens, phase.question_tokens)
        return answer_losses(model, tokens, scenes, rows, phase)

    optimise(optimiser, losses, Course(phase.steps, LOWEST_RATE, phase.seed), folder)


def ask(rendered: RenderedScene, phase: Answer, rng: random.Random) -> list[Question]:
    """Returns the questions about an image in a random order, a share of them paraphrased."""
    asked = questions(rendered.scene, CONCEPTS, rng, phase.rounds)
    return [
        paraphrase(item, rng) if rng.random() < phase.paraphrased else item for item in rng.sample(asked, len(asked))
    ]


def hidden_states(model: Any, scenes: Sequence[RenderedScene], rows: Rows) -> Tensor:  # -> (B, T, D)
    """Returns the language model's last hidden states of some rows."""
    with torch.no_grad():
        features = vision_features(model, list(scenes))
        text = model.language_model.embed_tokens(rows.ids)
    with torch.autocast("cpu", torch.bfloat16):
        visual = getattr(model, PROJECTOR)(features)
        inputs = torch.cat([text[:, :1], visual.to(text.dtype), text[:, SHARED:]], 1)
        outputs = model.language_model(
            inputs_embeds=inputs, position_ids=rows.positions, attention_mask=attention_mask(rows.segments)
        )
    hidden: Tensor = outputs.last_hidden_state.float()
    return hidden


def answer_losses(model: Any, tokens: Tokens, scenes: Sequence[RenderedScene], rows: Rows, phase: Answer) -> Losses:
    """Returns the weighted cross-entropy of the answers, and that of naming what each visual token is on."""
    hidden, table = hidden_states(model, scenes, rows), model.language_model.embed_tokens.weight
    asked = rows.labels != NOT_ASKED
    each = F.cross_entropy(hidden[asked] @ table.t(), rows.labels[asked], reduction="none")
    family = rows.families[asked]
    weights = torch.tensor([phase.family_weights.get(name, 1.0) for name in FAMILIES])[family[family >= 0]]
    words, end = (each[family >= 0] * weights).sum() / weights.sum(), each[family < 0].mean()
    seeing = seeing_loss(hidden[:, 1:SHARED], scenes, tokens, table)
    return {"loss": words + phase.end_weight * end + phase.seeing_weight * seeing, "words": words, "seeing": seeing}


def seeing_loss(hidden: Tensor, scenes: Sequence[RenderedScene], tokens: Tokens, table: Tensor) -> Tensor:
    """Returns the cross-entropy of naming, at each visual token on an object, what it is on: a cheap extra answer."""
    shown = torch.stack([shown_labels(rendered) for rendered in scenes])
    if not (shown >= 0).any():
        return hidden.sum() * 0
    words = torch.stack([tokens.embedding_of(label, table) for label in LABELS])
    loss: Tensor = F.cross_entropy(hidden[shown >= 0] @ words.t(), shown[shown >= 0])
    return loss
