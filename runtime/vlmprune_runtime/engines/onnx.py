"""Runs ONNX graphs on the CPU: all sessions share a thread pool, and each KV cache buffer is both input and output."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.engines.grid_shapes import stage_on_grid
from vlmprune_runtime.engines.onnx_graph import check_graph
from vlmprune_runtime.engines.signature import check_signatures, rows_and_past
from vlmprune_runtime.errors import BadRequest, EngineError, UnknownName, comma_list, short_repr
from vlmprune_runtime.schema import Cache, Graph, Stage

ONLY_FATAL = 4
_pool_threads: int | None = None


@dataclass(frozen=True)
class LoadedStage:
    """Holds a stage's graphs as sessions, by the grid that they serve (None: every grid), and its cache buffers.

    Each session has a binding that is used again; the buffers are the key and then the value of each layer.
    """

    name: str
    manifest: Stage
    graphs: dict[int | None, tuple[Any, Any]]
    buffers: tuple[Any, ...]

    def graph(self, grid: int) -> tuple[Any, Any]:
        """Returns the session and the binding for inputs of a grid."""
        return self.graphs[None] if None in self.graphs else self.graphs[grid]


class OnnxEngine:
    """Runs the stages of an ONNX bundle."""

    def __init__(self, bundle: OpenBundle, threads: int | None, context_tokens: int) -> None:
        """Loads all stages.

        Raises `BundleError` for a graph that the manifest does not describe, `EngineError` if loading fails.
        """
        check_signatures(bundle.manifest)
        share_thread_pool(threads)
        self.context_tokens = context_tokens
        self._stages: dict[str, LoadedStage] = {
            name: load_stage(bundle, name, context_tokens) for name in bundle.manifest.stages
        }

    def run(self, stage: str, inputs: Mapping[str, npt.NDArray[Any]], *, grid: int = 0) -> Tensors:
        """Returns the outputs of the stage by name."""
        if stage not in self._stages:
            raise UnknownName("stage", stage, self._stages)
        loaded = self._stages[stage]
        if loaded.buffers:
            self._check_capacity(loaded, inputs)
        try:
            session, binding = loaded.graph(grid)
            _bind_tensors(loaded, binding, inputs)
            session.run_with_iobinding(binding)
            return _outputs(loaded, binding)
        except (RuntimeError, ValueError, KeyError) as error:
            raise EngineError(stage, error) from None

    def _check_capacity(self, loaded: LoadedStage, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        rows, past = rows_and_past(loaded.manifest, inputs)
        end = past + rows
        if end > self.context_tokens:
            raise BadRequest(f"{loaded.name}: {end} tokens do not fit the context of {self.context_tokens}")


def share_thread_pool(threads: int | None) -> None:
    """Creates one thread pool for all sessions of the process, because the threads of two pools slow each other.

    From then on onnxruntime refuses other sessions of the process unless they set `use_per_session_threads = False`.
    """
    global _pool_threads
    if _pool_threads is None:
        try:
            ort.set_global_thread_pool_sizes(threads or 0, 1)
        except RuntimeError as error:
            if "already been created" not in str(error):
                raise EngineError("all", error) from None
        _pool_threads = threads or 0
    elif threads is not None and threads != _pool_threads:
        now = _pool_threads or "one per core"
        raise BadRequest(f"threads: got {threads}, but this process has started its pool with {now}")


def load_stage(bundle: OpenBundle, name: str, context_tokens: int) -> LoadedStage:
    """Returns the stage's graphs in sessions, checked against the manifest."""
    stage = bundle.manifest.stage(name)
    graphs = {graph.grid: _session(bundle, name, graph) for graph in stage.graphs}
    try:
        buffers = _buffers(stage.cache, context_tokens)
    except (ValueError, OverflowError, MemoryError) as error:
        raise EngineError(name, f"no memory for its cache: {error}") from None
    return LoadedStage(name, stage, graphs, buffers)


def _session(bundle: OpenBundle, name: str, graph: Graph) -> tuple[Any, Any]:
    options = ort.SessionOptions()
    options.use_per_session_threads = False
    options.log_severity_level = ONLY_FATAL
    try:
        path = str(bundle.path(graph.file))
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of onnxruntime share no base but Exception
        raise EngineError(name, error) from None
    check_graph(session, name, graph.file, stage_on_grid(bundle.manifest, name, graph.grid or 0))
    return session, session.io_binding()


def _buffers(cache: Cache | None, capacity: int) -> tuple[Any, ...]:
    if cache is None:
        return ()
    sizes = {"batch": 1, "kv_heads": cache.kv_heads, "capacity": capacity, "head_dim": cache.head_dim}
    shape = tuple(sizes[axis] for axis in cache.layout)
    return tuple(ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, cache.dtype)) for _ in cache.inputs)


def _bind_tensors(loaded: LoadedStage, binding: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Binds inputs from numpy, outputs that onnxruntime makes, and each cache buffer as input and output."""
    stage = loaded.manifest
    binding.clear_binding_inputs()
    binding.clear_binding_outputs()
    declared = {tensor.name: tensor.dtype for tensor in stage.inputs}
    for name, array in inputs.items():
        if name not in declared:
            raise ValueError(f"no input {short_repr(name)}; it has: {comma_list(declared)}")
        binding.bind_cpu_input(name, np.ascontiguousarray(array, dtype=declared[name]))
    for tensor in stage.outputs:
        binding.bind_output(tensor.name)
    if stage.cache:
        for name, buffer in zip(stage.cache.inputs, loaded.buffers, strict=True):
            binding.bind_ortvalue_input(name, buffer)
        for name, buffer in zip(stage.cache.outputs, loaded.buffers, strict=True):
            binding.bind_ortvalue_output(name, buffer)


def _outputs(loaded: LoadedStage, binding: Any) -> Tensors:
    """Returns the declared outputs, which were bound before the cache; `get_outputs` keeps that order."""
    values = binding.get_outputs()
    return {tensor.name: values[nth].numpy() for nth, tensor in enumerate(loaded.manifest.outputs)}
