"""Runs Core ML packages: in the MIL reference on any system, in Core ML itself on macOS.

Every function of a package has one fixed length. A prompt runs in the shortest prefill function that it fits, padded at
its end. Attention is causal, so padding changes no real row, and later tokens overwrite its cache rows.
"""

import sys
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.engines.coreml_functions import (
    check_functions,
    graph_for,
    longest_behind,
    pad_inputs,
    part_of,
    unpad_outputs,
)
from vlmprune_runtime.engines.signature import check_signatures, rows_and_past
from vlmprune_runtime.errors import BadRequest, EngineError, UnknownName, comma_list, shorten
from vlmprune_runtime.mil_reference import ReferencePackage
from vlmprune_runtime.mil_reference.program import computes_half

Array = npt.NDArray[Any]
REFERENCE_NOTE = "no Core ML on this system: its packages run in the MIL reference, slowly; times are no device's"


class Package(Protocol):
    """Runs the functions of a package, and keeps its states between calls."""

    def run(self, function: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the function's outputs by name."""


def has_core_ml() -> bool:
    """Says whether this system can run packages itself."""
    return sys.platform == "darwin"


class CoreMLEngine:
    """Runs the stages of a Core ML bundle."""

    def __init__(
        self, bundle: OpenBundle, threads: int | None, context_tokens: int, *, units: str | None = None
    ) -> None:
        """Loads all packages. Raises `BundleError` for a package that the manifest does not describe.

        `units` None uses Core ML with the compute units that the bundle advises, or the reference on other systems than
        macOS. "reference" uses the reference everywhere. Other names are compute units of Core ML.
        """
        if threads is not None:
            raise BadRequest(f"threads: got {threads}; allowed: none for a coreml bundle, whose engine chooses")
        self._manifest, self.context_tokens = bundle.manifest, context_tokens
        check_signatures(bundle.manifest)
        self.reference = units == "reference" or (units is None and not has_core_ml())
        self._inputs = {name: check_functions(bundle, name) for name in bundle.manifest.stages}
        self._packages = {name: self._load(bundle, name, units) for name in bundle.manifest.stages}

    def run(self, stage: str, inputs: Mapping[str, Array], *, grid: int = 0) -> Tensors:
        """Returns the outputs of the stage by name."""
        if stage not in self._packages:
            raise UnknownName("stage", stage, self._packages)
        manifest = self._manifest.stage(stage)
        declared = {tensor.name for tensor in manifest.inputs}
        if inputs.keys() != declared:
            raise EngineError(stage, f"got inputs {comma_list(inputs)}; it has: {comma_list(sorted(declared))}")
        rows, past = rows_and_past(manifest, inputs)
        if manifest.cache is not None:
            self._check_capacity(stage, past, rows)
        self._check_indices(stage, inputs)
        if past and rows > longest_behind(manifest):
            return self._part_by_part(stage, inputs, past, rows)
        return self._call(stage, inputs, grid)

    def cached(self, stage: str) -> tuple[Array, Array] | None:
        """Returns a stage's keys and values, each (layers, kv_heads, capacity, head_dim); None on Core ML."""
        package = self._packages[stage]
        cache = self._manifest.stage(stage).cache
        if cache is None or not isinstance(package, ReferencePackage):
            return None
        keys, values = (package.states[name] for name in cache.states)
        return keys, values

    @property
    def computes_half(self) -> bool:
        """Whether the packages compute products in float16."""
        return any(
            isinstance(package, ReferencePackage) and computes_half(package.model)
            for package in self._packages.values()
        )

    def _load(self, bundle: OpenBundle, stage: str, units: str | None) -> Package:
        [file] = bundle.manifest.stage(stage).graph_files
        path = bundle.path(file)
        if self.reference:
            return ReferencePackage(path)
        from vlmprune_runtime.engines.coreml_native import NativePackage, advised_units

        return NativePackage(path, units or advised_units(bundle.manifest, stage))

    def _call(self, stage: str, inputs: Mapping[str, Array], grid: int) -> Tensors:
        declared = self._manifest.stage(stage)
        graph, rows = graph_for(stage, declared, inputs, grid)
        try:
            padded = pad_inputs(declared, inputs, self._inputs[stage][str(graph.entry)])
        except ValueError as error:
            raise EngineError(stage, error) from None
        return unpad_outputs(declared, self._packages[stage].run(str(graph.entry), padded), rows)

    def _part_by_part(self, stage: str, inputs: Mapping[str, Array], past: int, rows: int) -> Tensors:
        """Runs more rows behind others than one call takes, for only decode functions continue a cache."""
        declared, parts = self._manifest.stage(stage), []
        longest = longest_behind(declared)
        for start in range(0, rows, longest):
            part = range(start, min(start + longest, rows))
            parts.append(self._call(stage, part_of(declared, inputs, part, past), 0))
        free = [tensor.name for tensor in declared.outputs if "tokens" in tensor.shape]
        return parts[-1] | {name: np.concatenate([part[name] for part in parts]) for name in free}

    def _check_capacity(self, stage: str, past: int, rows: int) -> None:
        """Raises an error for rows beyond the cache, which Core ML would not refuse."""
        if past < 0:
            raise EngineError(stage, f"past_tokens: got {past}, allowed: 0 or more")
        if past + rows > self.context_tokens:
            raise BadRequest(f"{stage}: {past + rows} tokens do not fit the context of {self.context_tokens}")

    def _check_indices(self, stage: str, inputs: Mapping[str, Array]) -> None:
        """Raises an error for indices outside a table, which Core ML would not refuse."""
        sizes = {
            "prompt.token_ids": self._manifest.text_model.vocab_size,
            "sequence.positions": self._manifest.context_tokens,
        }
        for tensor in self._manifest.stage(stage).inputs:
            size, indices = sizes.get(tensor.source), inputs[tensor.name]
            if size is not None and indices.size and not (indices.min() >= 0 and indices.max() < size):
                got = f"got {indices.min()} to {indices.max()}"
                raise EngineError(stage, f"{shorten(tensor.name)}: {got}, allowed: 0 to {size - 1}")
