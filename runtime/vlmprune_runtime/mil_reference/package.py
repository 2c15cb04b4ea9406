"""Opens and checks a saved .mlpackage and runs its functions, on states that live from call to call."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import BundleError, EngineError, UnknownName, comma_list
from vlmprune_runtime.mil_reference.constants import Constants, widened
from vlmprune_runtime.mil_reference.interpreter import Frame, OperationFailed, States, rounded, run_block
from vlmprune_runtime.mil_reference.prepared import PreparedBlock, prepare, unknown_operations
from vlmprune_runtime.mil_reference.program import Block, Model, Type, parse_model
from vlmprune_runtime.mil_reference.weights import WeightFiles

Array = npt.NDArray[Any]
SPECIFICATION = 9  # iOS 18, macOS 15


class ReferencePackage:
    """Holds a package and its states; each function is prepared when it first runs."""

    def __init__(self, path: Path) -> None:
        """Opens and checks a package. Raises `BundleError` for another version or unknown operations, or no package."""
        self.name = path.name
        self.model = read_model(path)
        _check_operations(path.name, self.model)
        self._constants = Constants(WeightFiles(_model_file(path).parent))
        self._ready: dict[str, PreparedBlock] = {}
        self.states: States = {}
        self.reset()

    def reset(self) -> None:
        """Sets all states to zero, as they are in a new MLState."""
        for block in self.model.functions.values():
            for name, kind in block.inputs:
                if kind.state:
                    self.states[name] = self._empty_state(name, kind)

    def run(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the function's outputs by name, in their dtypes; the arrays belong to the caller.

        Raises `BundleError` for weights that cannot be read, `EngineError` for anything else that fails.
        """
        block = self._block(function)
        try:
            with np.errstate(all="ignore"):
                prepared = self._prepared(function)
                results = run_block(prepared, Frame(_rounded_inputs(block, inputs), self.states))
        except (OperationFailed, ValueError, LookupError, TypeError, MemoryError) as failure:
            raise EngineError(f"{self.name}: {function}", failure) from None
        return {name: np.array(value) for name, value in zip(block.outputs, results, strict=True)}

    def _empty_state(self, name: str, kind: Type) -> Array:
        try:
            return np.zeros(kind.shape or (), np.float32 if kind.dtype == "float16" else kind.dtype)
        except (ValueError, TypeError, MemoryError) as error:
            raise BundleError(self.name, f"its state {name} is of {kind.dtype} {kind.shape}: {error}") from None

    def _block(self, function: str) -> Block:
        if function not in self.model.functions:
            raise UnknownName(f"function of {self.name}", function, self.model.functions)
        return self.model.functions[function]

    def _prepared(self, function: str) -> PreparedBlock:
        if function not in self._ready:
            try:
                self._ready[function] = prepare(self.model.functions[function], self._constants)
            except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
                raise BundleError(self.name, f"{function}: {error}") from None
        return self._ready[function]


def read_model(path: Path) -> Model:
    """Returns the program of a package. Raises `BundleError` for no package, or a version that is not iOS 18's."""
    file = _model_file(path)
    try:
        model = parse_model(file.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(path.name, f"{file.name} cannot be read: {error}") from None
    if model.specification != SPECIFICATION:
        reason = f"got specification version {model.specification}, this reference reads {SPECIFICATION} (iOS 18)"
        raise BundleError(path.name, reason)
    return model


def _model_file(path: Path) -> Path:
    """Returns the .mlmodel file that the package's own manifest names."""
    try:
        listed = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        inner = listed["itemInfoEntries"][listed["rootModelIdentifier"]]["path"]
        found = Path(path / "Data" / inner).resolve(strict=True)
    except (OSError, ValueError, KeyError, TypeError):
        raise BundleError(path.name, "is no .mlpackage: Manifest.json or the model it names is missing") from None
    if not found.is_relative_to(path.resolve()):
        raise BundleError(path.name, "its model leads outside the package")
    return found


def _check_operations(name: str, model: Model) -> None:
    found: dict[str, list[str]] = {}
    for function, block in model.functions.items():
        for operation in dict.fromkeys(unknown_operations(block)):
            found.setdefault(operation, []).append(function)
    if found:
        listed = "; ".join(f"{operation} in {', '.join(where)}" for operation, where in sorted(found.items()))
        raise BundleError(name, f"has operations that this reference does not know: {listed}")


def arguments_of(block: Block) -> dict[str, Type]:
    """Returns a function's inputs by name, without its states."""
    return {name: kind for name, kind in block.inputs if not kind.state}


def _rounded_inputs(block: Block, inputs: Mapping[str, Array]) -> dict[str, Array]:
    declared = arguments_of(block)
    if inputs.keys() != declared.keys():
        raise ValueError(f"got inputs {comma_list(sorted(inputs))}; it has: {comma_list(sorted(declared))}")
    found = {}
    for name, kind in declared.items():
        array = np.asarray(inputs[name])
        if kind.shape is not None and array.shape != kind.shape:
            raise ValueError(f"{name}: got shape {array.shape}, allowed: {kind.shape}")
        found[name] = rounded(widened(array), kind)
    return found
