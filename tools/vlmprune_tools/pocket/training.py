"""Training of projector and low-rank update, on cached features or new pictures: seeded, checkpointed, resumable.

First come collages of few tokens, up to `dense_until`; then most steps see a sample of the visual tokens (cheap);
from `full_from` on every step sees all of them, and none ever sees the pruner.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmprune_tools.pocket.batches import ALL_VISUAL, NOT_ASKED, Batch, attention_mask, make_batch
from vlmprune_tools.pocket.decoder import Decoder
from vlmprune_tools.pocket.drawing import Drawer, Group
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.labels import label_embeddings
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.questions import FAMILIES, questions
from vlmprune_tools.pocket.runs import append_log, rate_share, save_whole
from vlmprune_tools.pocket.settings import Settings
from vlmprune_tools.pocket.tokens import Tokens
from vlmprune_tools.progress import track


class Trainer:
    """A decoder and a projector with their optimiser, and the step they are at."""

    def __init__(self, decoder: Decoder, projector: Projector, tokens: Tokens, settings: Settings) -> None:
        """Train both modules in place."""
        self.decoder, self.projector, self.tokens, self.settings = decoder, projector, tokens, settings
        groups = [{"params": list(decoder.lora.parameters())}, {"params": list(projector.parameters())}]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.lora_rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.label_words = label_embeddings(decoder.embedding, tokens).to(decoder.dtype)
        self.step = 0
        self.seconds = 0.0

    def fit(self, groups: Sequence[Group], concepts: Sequence[str], folder: Path) -> None:
        """Run to the last step; a checkpoint in `folder` is gone on from."""
        folder.mkdir(parents=True, exist_ok=True)
        self.resume(folder / "checkpoint.pt")
        drawer = Drawer(groups, concepts, self.tokens, self.settings)
        for step in track(range(self.step, self.settings.steps), "training"):
            began = time.monotonic()
            figures = self.one_step(step, drawer)
            self.step, self.seconds = step + 1, self.seconds + time.monotonic() - began
            append_log(folder, {"step": step, "seconds": round(self.seconds, 1), **figures})
            if self.step % self.settings.save_every == 0 or self.step == self.settings.steps:
                self.save(folder / "checkpoint.pt")

    def one_step(self, step: int, drawer: Drawer) -> dict[str, Any]:
        """One update; which pictures and questions it sees depends on seed and step only."""
        rng = random.Random(f"{self.settings.seed}/{step}")
        torch.manual_seed(rng.getrandbits(60))
        self.set_rates(step)
        loss, figures = self.loss(drawer.batch(step, rng))
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], 1.0)
        self.optimiser.step()
        return figures

    @torch.inference_mode()
    def evaluate_on(self, examples: Sequence[Example], concepts: Sequence[str]) -> float:
        """Loss on some examples with all their visual tokens."""
        rng = random.Random(0)
        asked = [questions(example.scene, concepts, rng) for example in examples]
        batch = make_batch(examples, asked, self.tokens, ALL_VISUAL, self.settings.full_question_tokens)
        return round(float(self.loss(batch)[0]), 4)

    def hidden(self, batch: Batch) -> Tensor:  # -> (B, T, D)
        """Hidden states of a batch."""
        visual = self.projector(batch.features.float()).to(self.decoder.dtype)
        text = self.decoder.embedding[batch.ids]
        x = torch.cat([text[:, :1], visual, text[:, 1 + visual.shape[1] :]], 1)
        hidden: Tensor = self.decoder(x, batch.positions, attention_mask(batch.segments, self.decoder.dtype))
        return hidden

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """Weighted cross-entropy of the answers, and per family its loss."""
        asked, hidden = batch.labels != NOT_ASKED, self.hidden(batch)
        logits = self.decoder.logits(hidden[asked]).float()
        each = F.cross_entropy(logits, batch.labels[asked], reduction="none")
        family = batch.families[asked]
        weights = torch.tensor([self.settings.family_weights.get(name, 1.0) for name in FAMILIES])
        weight = weights[family[family >= 0]]
        words = (each[family >= 0] * weight).sum() / weight.sum()
        figures = {
            FAMILIES[index]: round(each[family == index].mean().item(), 4)
            for index in sorted(set(family.tolist()) - {-1})
        }
        seen = self.seeing_loss(hidden, batch)
        figures["seeing"] = round(seen.item(), 4)
        return words + self.settings.end_weight * each[family < 0].mean() + self.settings.seeing_weight * seen, figures

    def seeing_loss(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of naming, at each visual token, what it is mostly on: an answer at no further cost."""
        shown = batch.shown
        at = hidden[:, 1 : 1 + shown.shape[1]][shown >= 0]
        loss: Tensor = F.cross_entropy((at @ self.label_words.t()).float(), shown[shown >= 0])
        return loss if len(at) else hidden.sum() * 0

    def set_rates(self, step: int) -> None:
        """Warm-up, then a cosine down to a small rest."""
        s = self.settings
        share = rate_share(step, s.steps, s.warm_up_steps, s.lowest_rate)
        for group, rate in zip(self.optimiser.param_groups, (s.lora_rate, s.projector_rate), strict=True):
            group["lr"] = rate * share

    def save(self, path: Path) -> None:
        """Write everything needed to go on, whole or not at all."""
        state = {
            "projector": self.projector.state_dict(),
            "lora": self.decoder.lora.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "settings": asdict(self.settings),
        }
        save_whole(state, path)

    def resume(self, path: Path) -> None:
        """Take up a checkpoint when there is one."""
        if path.is_file():
            state = torch.load(path, weights_only=True)
            self.projector.load_state_dict(state["projector"])
            self.decoder.lora.load_state_dict(state["lora"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]
