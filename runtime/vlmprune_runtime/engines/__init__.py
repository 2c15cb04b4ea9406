"""Engines run the stages of bundles, one engine per target. A new engine is a file here and a line in `ENGINES`."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.errors import BadRequest, UnknownName

Tensors = dict[str, npt.NDArray[Any]]


class Engine(Protocol):
    """Runs one stage at a time; decoder stages keep their KV cache between calls.

    A call with `past_tokens` p writes the cache rows p to p + S - 1 and attends to the rows before them, so a new
    prompt starts with 0. `grid` is the index of the grid that the inputs belong to; it matters if there are several.
    """

    def run(self, stage: str, inputs: Mapping[str, npt.NDArray[Any]], *, grid: int = 0) -> Tensors:
        """Returns the outputs of the stage by name; the arrays are the caller's."""


def _load_onnx(bundle: OpenBundle, threads: int | None, context_tokens: int) -> Engine:
    from vlmprune_runtime.engines.onnx import OnnxEngine

    return OnnxEngine(bundle, threads, context_tokens)


def _load_executorch(bundle: OpenBundle, threads: int | None, context_tokens: int) -> Engine:
    from vlmprune_runtime.engines.executorch import ExecutorchEngine

    return ExecutorchEngine(bundle, threads, context_tokens)


def _load_coreml(bundle: OpenBundle, threads: int | None, context_tokens: int) -> Engine:
    from vlmprune_runtime.engines.coreml import CoreMLEngine

    return CoreMLEngine(bundle, threads, context_tokens)


Load = Callable[[OpenBundle, int | None, int], Engine]
ENGINES: dict[str, Load] = {"onnx": _load_onnx, "executorch": _load_executorch, "coreml": _load_coreml}


def load_engine(bundle: OpenBundle, *, threads: int | None = None, context_tokens: int | None = None) -> Engine:
    """Returns the engine for the bundle's target with all stages loaded.

    `threads` None uses one thread per core; `context_tokens` is the capacity of the KV cache, at most the bundle's.
    """
    target = bundle.manifest.target
    if target not in ENGINES:
        raise UnknownName("target for this runtime", target, ENGINES)
    if threads is not None and threads < 1:
        raise BadRequest(f"threads: got {threads}, allowed: 1 or more")
    return ENGINES[target](bundle, threads, check_context(bundle, context_tokens))


def reference_note(bundle: OpenBundle) -> str | None:
    """Returns a note for the user if the bundle runs in a reference implementation here, not in its own runtime."""
    if bundle.manifest.target != "coreml":
        return None
    from vlmprune_runtime.engines.coreml import REFERENCE_NOTE, has_core_ml

    return None if has_core_ml() else REFERENCE_NOTE


def check_context(bundle: OpenBundle, context_tokens: int | None) -> int:
    """Returns the requested capacity, or the bundle's if none is requested. Raises `BadRequest`."""
    most = bundle.manifest.context_tokens
    requested = most if context_tokens is None else context_tokens
    if not 1 <= requested <= most:
        raise BadRequest(f"context_tokens: got {requested}, allowed: 1 to {most}")
    return requested
