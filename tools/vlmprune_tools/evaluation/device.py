"""Runs the staged model on another device than the CPU, behind the engines' interface of numpy arrays."""

from dataclasses import replace

import torch

from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.errors import BadRequest, first_line
from vlmprune_tools.evaluation.loaded_model import LoadedModel


def on_device(model: LoadedModel, name: str) -> LoadedModel:
    """Returns the model itself for the CPU, otherwise the model with its weights moved to the device.

    It was only ever run with the CPU as the device.
    """
    try:
        device = torch.device(name)
        assert isinstance(model.engine, TorchEngine)
        if device.type == "cpu":
            return model
        for stage in model.engine.staged.modules().values():
            stage.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without the device
        raise BadRequest(f"device {name!r} cannot be used: {first_line(error)}") from None
    return replace(model, engine=TorchEngine(model.engine.staged, device))
