"""Runs the staged model on another device than the CPU, behind the engines' interface of numpy arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlmprune_export.staged import TorchEngine
from vlmprune_runtime.errors import BadRequest, first_line
from vlmprune_tools.evaluation.loaded_model import LoadedModel


@dataclass(frozen=True)
class DeviceEngine:
    """Moves inputs to the device and outputs back. It was only ever run with the CPU as the device."""

    engine: TorchEngine
    device: torch.device

    @torch.inference_mode()
    def run(self, stage: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs of one stage by name."""
        with self.device:  # also the tensors that a stage creates itself
            tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
            moved = {name: value.to(self.device) for name, value in tensors.items()}
            outputs = getattr(self.engine, f"_{stage}")(**moved)
        return {name: value.cpu().numpy() for name, value in outputs.items()}


def on_device(model: LoadedModel, name: str) -> LoadedModel:
    """Returns the model itself for the CPU, otherwise the model with its weights moved to the device."""
    try:
        device = torch.device(name)
        assert isinstance(model.engine, TorchEngine)
        if device.type == "cpu":
            return model
        for stage in model.engine.staged.modules().values():
            stage.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without the device
        raise BadRequest(f"device {name!r} cannot be used: {first_line(error)}") from None
    return replace(model, engine=DeviceEngine(model.engine, device))
