"""Core ML packages behind the interface of the engines: the MIL reference on any system, Core ML itself on macOS.

Every function of a package has one fixed length. A prompt takes the shortest prefill function that it fits, padded at
its end: attention is causal, so that padding changes no real row, and later tokens overwrite its cache rows.
"""

import sys
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.engines.coreml_functions import check_functions, function_for, pad_inputs, unpad_outputs
from vlmprune_runtime.engines.signature import check_signatures
from vlmprune_runtime.errors import BadRequest, EngineError, UnknownName
from vlmprune_runtime.mil_reference import ReferencePackage
from vlmprune_runtime.mil_reference.program import computes_half
from vlmprune_runtime.schema import STAGES

Array = npt.NDArray[Any]
REFERENCE_NOTE = "no Core ML on this system: its packages run in the MIL reference, slowly; times are no device's"


class Package(Protocol):
    """A package with its states."""

    def run(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The function's outputs by name."""


def has_core_ml() -> bool:
    """Whether this system can run packages itself."""
    return sys.platform == "darwin"


class CoreMLEngine:
    """Runs the stages of a Core ML bundle."""

    def __init__(
        self, bundle: OpenBundle, threads: int | None, context_tokens: int, *, units: str | None = None
    ) -> None:
        """Load all packages; `BundleError` if one is not what the manifest says.

        `units` None: Core ML with the bundle's advice where there is one, else the reference; "reference": that
        anywhere; other names are Core ML's compute units.
        """
        if threads is not None:
            raise BadRequest(f"threads: got {threads}; a coreml bundle takes none, its engine chooses")
        self._manifest, self.context_tokens = bundle.manifest, context_tokens
        check_signatures(bundle.manifest)
        self.reference = units == "reference" or (units is None and not has_core_ml())
        self._inputs = {name: check_functions(bundle, name) for name in STAGES}
        self._packages = {name: self._load(bundle, name, units) for name in STAGES}

    def run(self, stage: str, inputs: Mapping[str, Array]) -> Tensors:
        """Outputs of the stage by name."""
        if stage not in self._packages:
            raise UnknownName("stage", stage, self._packages)
        declared = {tensor.name for tensor in self._manifest.stage(stage).inputs}
        if inputs.keys() != declared:
            raise EngineError(stage, f"got inputs {', '.join(inputs)}; it has: {', '.join(sorted(declared))}")
        past = int(inputs["past_tokens"][0]) if "past_tokens" in inputs else 0
        rows = len(inputs["positions"]) if "positions" in inputs else 1
        self._check_values(stage, inputs, past, rows)
        if past and rows > 1:
            return self._row_by_row(stage, inputs, past, rows)
        return self._call(stage, inputs, past)

    def cached(self, stage: str) -> tuple[Array, Array] | None:
        """The states of a stage, keys and values, each (layers, kv_heads, capacity, head_dim); None on Core ML."""
        package = self._packages[stage]
        return (
            (package.states[f"k_{stage}"], package.states[f"v_{stage}"])
            if isinstance(package, ReferencePackage)
            else None
        )

    @property
    def half(self) -> bool:
        """Whether most of it computes in float16."""
        return any(isinstance(one, ReferencePackage) and computes_half(one.model) for one in self._packages.values())

    def _load(self, bundle: OpenBundle, stage: str, units: str | None) -> Package:
        path = bundle.path(bundle.manifest.stage(stage).file)
        if self.reference:
            return ReferencePackage(path)
        from vlmprune_runtime.engines.coreml_native import NativePackage, advised_units

        return NativePackage(path, units or advised_units(bundle.manifest, stage))

    def _call(self, stage: str, inputs: Mapping[str, Array], past: int) -> Tensors:
        declared = self._manifest.stage(stage)
        function, rows = function_for(stage, declared, inputs, past)
        try:
            padded = pad_inputs(inputs, self._inputs[stage][function.name], past, rows)
        except ValueError as error:
            raise EngineError(stage, error) from None
        return unpad_outputs(declared, self._packages[stage].run(function.name, padded), rows)

    def _row_by_row(self, stage: str, inputs: Mapping[str, Array], past: int, rows: int) -> Tensors:
        """Several rows behind others: there are no functions for that but `decode`."""
        parts = []
        for nth in range(rows):
            one = {name: value[nth : nth + 1] for name, value in inputs.items() if name != "past_tokens"}
            parts.append(self._call(stage, {**one, "past_tokens": np.array([past + nth])}, past + nth))
        found = {name: np.concatenate([one[name] for one in parts]) for name in parts[0] if name != "logits"}
        return found or parts[-1]

    def _check_values(self, stage: str, inputs: Mapping[str, Array], past: int, rows: int) -> None:
        """What Core ML would not refuse: rows beyond the cache, places outside a table."""
        if past < 0:
            raise EngineError(stage, f"past_tokens: got {past}, allowed: 0 or more")
        if past + rows > self.context_tokens:
            raise BadRequest(f"{stage}: {past + rows} tokens do not fit the context of {self.context_tokens}")
        sizes = {"token_ids": self._manifest.text_model.vocab_size, "positions": self._manifest.context_tokens}
        for name, size in sizes.items():
            found = inputs.get(name)
            if found is not None and found.size and not (found.min() >= 0 and found.max() < size):
                raise EngineError(stage, f"{name}: got {found.min()} to {found.max()}, allowed: 0 to {size - 1}")
