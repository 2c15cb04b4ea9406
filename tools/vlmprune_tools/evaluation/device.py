"""The staged model on another device than the CPU, still behind the engines' interface of numpy arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlmprune_export.staged import TorchEngine
from vlmprune_runtime.errors import BadRequest, first_line
from vlmprune_tools.evaluation.subject import Subject


@dataclass(frozen=True)
class DeviceEngine:
    """Moves what goes in and what comes out. Not run on anything but the CPU here."""

    engine: TorchEngine
    device: torch.device

    @torch.inference_mode()
    def run(self, stage: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs of one stage by name."""
        with self.device:  # tensors that a stage makes itself
            tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
            moved = {name: value.to(self.device) for name, value in tensors.items()}
            outputs = getattr(self.engine, f"_{stage}")(**moved)
        return {name: value.cpu().numpy() for name, value in outputs.items()}


def on_device(subject: Subject, name: str) -> Subject:
    """The subject itself on the CPU, otherwise with its weights moved."""
    try:
        device = torch.device(name)
        assert isinstance(subject.engine, TorchEngine)
        if device.type == "cpu":
            return subject
        for stage in subject.engine.staged.modules().values():
            stage.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without the device
        raise BadRequest(f"device {name!r} cannot be used: {first_line(error)}") from None
    return replace(subject, engine=DeviceEngine(subject.engine, device))
