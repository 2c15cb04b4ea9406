"""The loop of optimiser steps that all phases share: seeded, checkpointed, resumable."""

import math
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmprune_runtime.progress import track
from vlmprune_tools.json_lines import append_json_line

WARM_UP_STEPS, SAVE_EVERY = 30, 50
Losses = Mapping[str, Tensor]  # "loss" is optimised, the others are logged


@dataclass(frozen=True)
class Course:
    """The length of a run, the share of the learning rates that is left in the end, and the seed."""

    steps: int
    lowest_rate: float
    seed: int

    def rate_share(self, step: int) -> float:
        """Returns the share of the learning rates at a step: a warm-up, then a cosine down to the lowest.

        >>> [round(Course(100, 0.1, 0).rate_share(step), 2) for step in (0, 29, 50, 99)]
        [0.03, 0.81, 0.5, 0.1]
        """
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return max(self.lowest_rate, cosine) * min(1.0, (step + 1) / WARM_UP_STEPS)


def optimise(
    optimiser: torch.optim.Optimizer, losses: Callable[[random.Random], Losses], course: Course, folder: Path
) -> None:
    """Runs to the last step; resumes from a checkpoint in `folder`. A step depends on seed and step number only."""
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [value for group in optimiser.param_groups for value in group["params"]]
    rates = [group["lr"] for group in optimiser.param_groups]
    for step in track(range(_resume(folder, parameters, optimiser), course.steps), folder.name):
        rng = random.Random(f"{course.seed}/{step}")
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * course.rate_share(step)
        figures = losses(rng)
        optimiser.zero_grad()
        figures["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        append_json_line(folder / "log.jsonl", {"step": step} | {k: round(v.item(), 4) for k, v in figures.items()})
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == course.steps:
            _save(folder, {"parameters": parameters, "optimiser": optimiser.state_dict(), "step": step + 1})


def _save(folder: Path, state: dict[str, Any]) -> None:
    scratch = folder / f"checkpoint.{os.getpid()}"
    torch.save(state, scratch)
    scratch.replace(folder / "checkpoint.pt")


@torch.no_grad()
def _resume(folder: Path, parameters: list[Tensor], optimiser: torch.optim.Optimizer) -> int:
    if not (folder / "checkpoint.pt").is_file():
        return 0
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    for value, stored in zip(parameters, state["parameters"], strict=True):
        value.copy_(stored)
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
