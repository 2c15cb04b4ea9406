"""Runs packages in Core ML through coremltools, on macOS 15 or newer. This file is type-checked, but was NEVER RUN."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import BadRequest, EngineError, MissingExtra, UnknownName
from vlmprune_runtime.mil_reference.package import read_model
from vlmprune_runtime.schema import Bundle

Array = npt.NDArray[Any]
UNITS = ("ALL", "CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY")
DEFAULT_UNITS = "ALL"
MIN_MACOS = 15


class NativePackage:
    """Holds a package that Core ML has loaded: a model per function, and one state that all functions share."""

    def __init__(self, path: Path, units: str) -> None:
        """Loads every function on `units`. Raises `EngineError` if Core ML refuses."""
        self._tools = _coremltools()
        if units not in UNITS:
            raise UnknownName("compute units", units, UNITS)
        self.name, model = path.name, read_model(path)
        single = len(model.functions) == 1
        self._models = {name: self._load(path, None if single else name, units) for name in model.functions}
        stateful = any(kind.state for block in model.functions.values() for _, kind in block.inputs)
        self._state = next(iter(self._models.values())).make_state() if stateful else None

    def run(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the function's outputs by name."""
        try:
            outputs = self._models[function].predict(dict(inputs), state=self._state)
        except (RuntimeError, ValueError, TypeError) as error:
            raise EngineError(f"{self.name}: {function}", error) from None
        return {name: np.array(value) for name, value in outputs.items()}

    def _load(self, path: Path, function: str | None, units: str) -> Any:
        try:
            kinds = self._tools.ComputeUnit
            return self._tools.models.MLModel(str(path), compute_units=kinds[units], function_name=function)
        except (RuntimeError, ValueError) as error:
            raise EngineError(path.name, error) from None


def advised_units(manifest: Bundle, stage: str) -> str:
    """Returns the compute units that the bundle advises for the stage, `ALL` if it advises none."""
    advice = manifest.stage(stage).compute_units
    return advice if advice in UNITS else DEFAULT_UNITS


def check_macos(release: str) -> None:
    """Raises `BadRequest` unless the macOS release supports states and packages of several functions.

    >>> check_macos("15.1")
    """
    major = int(release.split(".")[0] or 0)
    if major < MIN_MACOS:
        raise BadRequest(f"macOS: got {release}, allowed: {MIN_MACOS} or newer (states, several functions)")


def _coremltools() -> Any:
    if find_spec("coremltools") is None:
        raise MissingExtra("coremltools", "coreml")
    import platform

    check_macos(platform.mac_ver()[0] or "0")
    return import_module("coremltools")
