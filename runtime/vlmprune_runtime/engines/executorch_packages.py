"""Imports the executorch wheel, only when an engine is created."""

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import EngineError, MissingExtra

# Shared libraries of the wheel with kernels that the bindings do not link, by the namespace of their operators.
KERNEL_LIBRARIES = {
    "llama": "extension/llm/custom_ops/libcustom_ops_aot_lib.*",
    "quantized_decomposed": "kernels/quantized/libquantized_ops_aot_lib.*",
}


@dataclass(frozen=True)
class Packages:
    """Holds ExecuTorch's runtime, and PyTorch, whose tensors its bindings take and return."""

    runtime: Any
    torch: Any


def load_packages(threads: int | None) -> Packages:
    """Returns the runtime with all kernels of its wheel registered.

    `threads` None leaves the number to the runtime, unless this process is confined to some of the cores.
    Raises `MissingExtra` and `EngineError`.
    """
    if not _installed():
        raise MissingExtra("executorch", "executorch")
    try:
        module = import_module("executorch.runtime")
        runtime = module.Runtime.get()
        torch = import_module("torch")
        for pattern in KERNEL_LIBRARIES.values():
            torch.ops.load_library(_library(Path(str(module.__file__)).parents[1], pattern))
        count = available_cores() if threads is None else threads
        if count is not None:
            import_module("executorch.extension.pybindings.portable_lib")._unsafe_reset_threadpool(count)
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError("all", f"the executorch wheel cannot be loaded: {error}") from None
    return Packages(runtime, torch)


def _installed() -> bool:
    """Says whether the wheel is installed; `executorch` alone could be any folder of that name."""
    try:
        return find_spec("executorch.runtime") is not None
    except ModuleNotFoundError:
        return False


def available_cores() -> int | None:
    """Returns the number of cores that this process is confined to, None if it may use all.

    The runtime counts the cores of the machine. Threads that wait for each other on one core slow a run many times.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return usable if usable != os.cpu_count() else None


def _library(root: Path, pattern: str) -> Path:
    paths = sorted(root.glob(pattern))
    if not paths:
        raise OSError(f"no {pattern} in {root.name}")
    return paths[0]
