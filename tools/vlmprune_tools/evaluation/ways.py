"""Ways to answer: each pruner at each rate, and the unpruned model, on the same weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from vlmprune_export.pruners import Pruner, build_pruner
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prefill import Selection
from vlmprune_tools.evaluation.subject import Subject
from vlmprune_tools.evaluation.variants import Variant

UNPRUNED, BLIND = "unpruned", "blind"
DEFAULT_RATES = (0.667, 0.778, 0.889)  # the paper's
Pick = Callable[[Tensors], Selection]


@dataclass(frozen=True)
class Way:
    """One pruner at one rate. `pick` None keeps everything; `pruned_in` says what ran the pruner."""

    method: str
    keep: int
    pick: Pick | None = None
    pruned_in: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Unique among the ways of one evaluation."""
        return f"{self.method}@{self.keep}"


def ways_of(subject: Subject, variants: Sequence[Variant], keeps: Sequence[int]) -> list[Way]:
    """The unpruned model, then by falling K all pruners. K = N is the unpruned model, which is always there."""
    tokens = subject.visual_tokens
    for keep in keeps:
        if not 1 <= keep <= tokens:
            raise BadRequest(f"keeps: got {keep}; allowed: 1 to {tokens} (the image's visual tokens)")
    wanted = keeps or [round(tokens * (1 - rate)) for rate in DEFAULT_RATES]
    pruned = sorted({keep for keep in wanted if keep < tokens}, reverse=True)
    return [Way(UNPRUNED, tokens), *(way_of(subject, variant, keep) for keep in pruned for variant in variants)]


def way_of(subject: Subject, variant: Variant, keep: int) -> Way:
    """In the bundle's own graph where it is the bundle's own pruner, otherwise in eager PyTorch."""
    pruner = build_pruner(variant.pruner, grid=subject.grid, keep=keep, settings=variant.settings)
    settings, own = asdict(pruner.settings), subject.own
    if own is not None and (own.method, own.keep, own.settings) == (variant.pruner, keep, settings):
        return Way(variant.label, keep, InEngine(subject), subject.identity.engine, settings)
    return Way(variant.label, keep, InPyTorch(pruner), "pytorch", settings)


@dataclass(frozen=True)
class InEngine:
    """The bundle's prune stage."""

    subject: Subject

    def __call__(self, visual: Tensors) -> Selection:
        """What it selects of hidden (N, D) and keys (N, Dk)."""
        found = self.subject.engine.run("prune", {name: visual[name] for name in ("hidden", "keys")})
        return Selection(found["kept"], found["fused"], found["order"])


@dataclass(frozen=True)
class InPyTorch:
    """Any pruner, on what the head stage gave, whatever engine that ran in."""

    pruner: Pruner

    @torch.inference_mode()
    def __call__(self, visual: Tensors) -> Selection:
        """What it selects of the tensors that it takes; fp32 in, as all engines hand out."""
        tensors = [torch.from_numpy(visual[name].astype(np.float32)) for name in self.pruner.inputs]
        kept, fused, order = (value.numpy() for value in self.pruner(*tensors))
        return Selection(kept, fused, order)
