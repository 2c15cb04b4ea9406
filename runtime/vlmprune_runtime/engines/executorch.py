"""Runs ExecuTorch programs through the Python bindings: a method per stage, with the KV caches inside the methods.

The bindings take and return torch tensors and link against libtorch, so this engine alone imports PyTorch. That costs
some 200 MB of memory and seconds at the start, which a phone does not pay. Weights are mapped from the file; XNNPACK
packs the weights that it uses a second time, per method.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.engines.executorch_packages import Packages, load_packages
from vlmprune_runtime.engines.executorch_program import check_file, check_method, check_runtime
from vlmprune_runtime.engines.grid_shapes import stage_on_grid
from vlmprune_runtime.engines.signature import check_signatures, rows_and_past
from vlmprune_runtime.errors import BadRequest, BundleError, EngineError, UnknownName, comma_list, short_repr, shorten
from vlmprune_runtime.schema import Graph, Stage, Tensor


class ExecutorchEngine:
    """Runs the stages of an ExecuTorch bundle.

    The engine checks inputs before each call, because the runtime would abort the process for some of them: for a cache
    that overflows, or a token id outside the embedding table.
    """

    def __init__(self, bundle: OpenBundle, threads: int | None, context_tokens: int, *, traced: bool = False) -> None:
        """Loads all methods.

        Raises `BundleError` for a method that the manifest does not describe, `EngineError` if loading fails.
        `traced` makes the runtime record the time of every operator, for `write_trace`.
        """
        self._manifest, self.context_tokens = bundle.manifest, context_tokens
        check_signatures(bundle.manifest)
        self._packages = load_packages(threads)
        check_runtime(bundle.manifest, self._packages.runtime)
        # The programs are kept, because their methods read weights from them.
        self._programs = {file: _load(bundle, file, self._packages, traced) for file in _files(bundle)}
        self._methods = {name: self._stage_methods(name) for name in bundle.manifest.stages}

    def run(self, stage: str, inputs: Mapping[str, npt.NDArray[Any]], *, grid: int = 0) -> Tensors:
        """Returns the outputs of the stage by name."""
        if stage not in self._methods:
            raise UnknownName("stage", stage, self._methods)
        methods = self._methods[stage]
        serves = None if None in methods else grid
        declared = stage_on_grid(self._manifest, stage, serves or 0)
        try:
            arrays = ordered_inputs(declared, inputs)
            self._check_values(stage, arrays)
            tensors = [self._packages.torch.from_numpy(array) for array in arrays.values()]
            outputs = methods[serves].execute(tensors)
        except (RuntimeError, ValueError, KeyError) as error:
            raise EngineError(stage, error) from None
        return {tensor.name: value.numpy() for tensor, value in zip(declared.outputs, outputs, strict=True)}

    def write_trace(self, path: Path) -> None:
        """Writes the runtime's record (ETDump) of all calls so far. Raises `EngineError` if there is none."""
        try:
            for program in self._programs.values():
                program.write_etdump_result_to_file(str(path), str(path.with_suffix(".debug")))
        except RuntimeError as error:
            raise EngineError("all", error) from None

    def _stage_methods(self, name: str) -> dict[int | None, Any]:
        """Returns the methods of a stage by the grid that they serve; the key None serves every grid."""
        return {graph.grid: self._method(name, graph) for graph in self._manifest.stage(name).graphs}

    def _method(self, name: str, graph: Graph) -> Any:
        program, entry = self._programs[graph.file], graph.entry
        if entry not in program.method_names:
            raise BundleError(graph.file, f"has no method {entry!r}", f"stages.{name}")
        declared = stage_on_grid(self._manifest, name, graph.grid or 0)
        check_method(graph.file, name, declared, program.metadata(entry), self._manifest.context_tokens)
        try:
            return program.load_method(entry)
        except RuntimeError as error:
            raise EngineError(name, error) from None

    def _check_values(self, stage: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        declared = self._manifest.stage(stage)
        if declared.cache is not None:
            new, past = rows_and_past(declared, arrays)
            if past < 0:
                raise ValueError(f"past_tokens: got {past}, allowed: 0 or more")
            if past + new > self.context_tokens:
                raise BadRequest(f"{stage}: {past + new} tokens do not fit the context of {self.context_tokens}")
        ids, vocabulary = arrays.get("token_ids"), self._manifest.text_model.vocab_size
        if ids is not None and (ids.min() < 0 or ids.max() >= vocabulary):
            raise ValueError(f"token_ids: got {ids.min()} to {ids.max()}, allowed: 0 to {vocabulary - 1}")


def ordered_inputs(stage: Stage, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Returns the inputs in the method's order, contiguous, in its dtypes. Raises `ValueError` if one does not fit."""
    declared = {tensor.name: tensor for tensor in stage.inputs}
    if inputs.keys() != declared.keys():
        raise ValueError(f"got inputs {comma_list(inputs)}; it has: {comma_list(declared)}")
    arrays = {name: np.ascontiguousarray(inputs[name], dtype=tensor.dtype) for name, tensor in declared.items()}
    lengths = {
        arrays[name].shape[tensor.shape.index("tokens")]
        for name, tensor in declared.items()
        if "tokens" in tensor.shape and arrays[name].ndim == len(tensor.shape)
    }
    if lengths and (len(lengths) > 1 or 0 in lengths):
        raise ValueError(f"got {' and '.join(map(str, sorted(lengths)))} tokens; allowed: one length, 1 or more")
    for name, tensor in declared.items():
        _check_shape(tensor, arrays[name].shape)
    return {name: _writable(array) for name, array in arrays.items()}


def _check_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    fits = len(shape) == len(tensor.shape) and all(
        isinstance(expected, str) or expected == size for expected, size in zip(tensor.shape, shape, strict=False)
    )
    if not fits:
        raise ValueError(
            f"{shorten(tensor.name)}: got shape {short_repr(shape, 120)}, allowed: {short_repr(tensor.shape, 120)}"
        )


def _writable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array if array.flags.writeable else array.copy()  # PyTorch warns of read-only arrays


def _files(bundle: OpenBundle) -> set[str]:
    return {file for stage in bundle.manifest.stages.values() for file in stage.graph_files}


def _load(bundle: OpenBundle, file: str, packages: Packages, traced: bool) -> Any:
    path = bundle.path(file)
    check_file(path)
    try:
        return packages.runtime.load_program(path, enable_etdump=traced)
    except RuntimeError as error:
        raise EngineError("all", f"{file} cannot be loaded: {error}") from None
