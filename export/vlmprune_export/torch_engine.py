"""Runs the stages in eager PyTorch, the reference for every exported bundle."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmprune_export.decoder_attention import TorchCache
from vlmprune_export.stage_table import PAST_TOKENS, StageEntry
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.errors import UnknownName


class TorchEngine:
    """Runs the stages in eager PyTorch behind the interface of the runtime's engines.

    Decoder stages may have weights of another precision than fp32; they compute in it, and inputs and outputs are fp32.
    """

    def __init__(self, staged: StagedModel, device: torch.device | None = None) -> None:
        """`device` holds the stages' weights; None stands for the CPU."""
        self.staged, self.device = staged, device or torch.device("cpu")
        self._caches: dict[str, TorchCache] = {}

    @torch.inference_mode()
    def run(self, stage: str, inputs: Mapping[str, NDArray[Any]], *, grid: int = 0) -> dict[str, NDArray[Any]]:
        """Returns the outputs of one stage by name; see `vlmprune_runtime.engines`."""
        if stage not in self.staged.stages:
            raise UnknownName("stage", stage, self.staged.stages)
        entry = self.staged.stages[stage]
        module = entry.modules[grid if len(entry.modules) > 1 else 0]
        with self.device:  # tensors that a stage makes itself
            outputs = module(*self._arguments(entry, inputs))
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        return {name: _as_numpy(value) for name, value in zip(entry.output_names, outputs, strict=True)}

    def cached(self, stage: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns keys and values of a stage so far, each (layers, kv_heads, tokens, head_dim)."""
        layers = self._caches[stage].layers
        keys, values = (torch.cat([layers[index][side] for index in sorted(layers)]) for side in (0, 1))
        return _as_numpy(keys), _as_numpy(values)

    def _arguments(self, entry: StageEntry, inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Returns the stage's inputs in order; a decoder takes its cache in place of the number of past tokens."""
        arguments: list[Any] = []
        dtype = next(entry.module.parameters()).dtype if entry.declared.role == "decoder" else None
        for tensor in entry.declared.inputs:
            value = inputs[tensor.name]
            if tensor.name == PAST_TOKENS:
                arguments.append(self._cache(entry.name, int(value[0])))
            else:
                argument = torch.from_numpy(np.ascontiguousarray(value)).to(self.device)
                arguments.append(argument.to(dtype) if dtype and argument.is_floating_point() else argument)
        return arguments

    def _cache(self, stage: str, past_tokens: int) -> TorchCache:
        self._caches[stage] = TorchCache(past_tokens, self._caches.get(stage) if past_tokens else None)
        return self._caches[stage]


def _as_numpy(value: Tensor) -> NDArray[Any]:
    """Returns a tensor on the CPU, floating-point ones in fp32 as all engines give them."""
    return (value.float() if value.is_floating_point() else value).cpu().numpy()
