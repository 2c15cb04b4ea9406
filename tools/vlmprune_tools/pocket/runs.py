"""What every run that trains has in common: its learning rate's course, and a checkpoint that is whole or not there."""

import json
import math
import os
from pathlib import Path
from typing import Any

import torch


def rate_share(step: int, steps: int, warm_up: int, lowest: float) -> float:
    """The share of the learning rate at a step: a warm-up, then a cosine down to `lowest`.

    >>> [round(rate_share(step, 100, 10, 0.1), 2) for step in (0, 9, 50, 99)]
    [0.1, 0.98, 0.5, 0.1]
    """
    return max(lowest, 0.5 * (1 + math.cos(math.pi * step / steps))) * min(1.0, (step + 1) / warm_up)


def save_whole(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    scratch = path.with_suffix(f".{os.getpid()}")
    torch.save(state, scratch)
    scratch.replace(path)


def append_log(folder: Path, record: dict[str, Any]) -> None:
    """Add one step's figures to the run's log."""
    with (folder / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")
