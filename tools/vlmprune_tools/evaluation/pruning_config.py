"""Pruning configs: each pruner at each rate, and the unpruned model, on the same weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from vlmprune_export.pruners import Pruner, build_pruner
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prefill import Selection
from vlmprune_tools.evaluation.loaded_model import LoadedModel
from vlmprune_tools.evaluation.variants import Variant

UNPRUNED, BLIND = "unpruned", "blind"
DEFAULT_RATES = (0.667, 0.778, 0.889)  # the paper's
Select = Callable[[Tensors], Selection]


@dataclass(frozen=True)
class PruningConfig:
    """One pruner at one rate. Without `select` all tokens are kept; `pruned_in` names what ran the pruner."""

    method: str
    keep: int
    select: Select | None = None
    pruned_in: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name that no other config of the same evaluation has."""
        return f"{self.method}@{self.keep}"


def build_configs(model: LoadedModel, variants: Sequence[Variant], keeps: Sequence[int]) -> list[PruningConfig]:
    """Returns the unpruned model, then all pruners by falling K. K = N is the unpruned model, which is always there."""
    tokens = model.visual_tokens
    for keep in keeps:
        if not 1 <= keep <= tokens:
            raise BadRequest(f"keeps: got {keep}; allowed: 1 to {tokens} (the image's visual tokens)")
    requested = keeps or [round(tokens * (1 - rate)) for rate in DEFAULT_RATES]
    pruned = sorted({keep for keep in requested if keep < tokens}, reverse=True)
    configs = [build_config(model, variant, keep) for keep in pruned for variant in variants]
    return [PruningConfig(UNPRUNED, tokens), *configs]


def build_config(model: LoadedModel, variant: Variant, keep: int) -> PruningConfig:
    """Returns a config that prunes in the bundle's own graph if that holds the same pruner, otherwise in PyTorch."""
    pruner = build_pruner(variant.pruner, grid=model.grid, keep=keep, settings=variant.settings)
    settings, exported = asdict(pruner.settings), model.exported_pruner
    same = (variant.pruner, keep, settings)
    if exported is not None and (exported.method, exported.keep, exported.settings) == same:
        return PruningConfig(variant.label, keep, EnginePruner(model), model.identity.engine, settings)
    return PruningConfig(variant.label, keep, TorchPruner(pruner), "pytorch", settings)


@dataclass(frozen=True)
class EnginePruner:
    """Runs the bundle's prune stage."""

    model: LoadedModel

    def __call__(self, visual: Tensors) -> Selection:
        """Selects among hidden (N, D) and keys (N, Dk)."""
        outputs = self.model.engine.run("prune", {name: visual[name] for name in ("hidden", "keys")})
        return Selection(outputs["kept"], outputs["fused"], outputs["order"])


@dataclass(frozen=True)
class TorchPruner:
    """Runs any pruner in PyTorch on the head's output, whatever engine computed that."""

    pruner: Pruner

    @torch.inference_mode()
    def __call__(self, visual: Tensors) -> Selection:
        """Selects with the tensors that the pruner takes, in fp32, as all engines return them."""
        tensors = [torch.from_numpy(visual[name].astype(np.float32)) for name in self.pruner.inputs]
        kept, fused, order = (value.numpy() for value in self.pruner(*tensors))
        return Selection(kept, fused, order)
