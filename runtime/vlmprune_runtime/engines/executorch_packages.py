"""The executorch wheel, imported only when an engine is made."""

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import EngineError, MissingExtra

# Kernels that the bindings do not link: shared libraries of the wheel, by the namespace of their operators.
KERNEL_LIBRARIES = {
    "llama": "extension/llm/custom_ops/libcustom_ops_aot_lib.*",
    "quantized_decomposed": "kernels/quantized/libquantized_ops_aot_lib.*",
}


@dataclass(frozen=True)
class Packages:
    """ExecuTorch's runtime, and PyTorch, which its bindings take and give tensors of."""

    runtime: Any
    torch: Any


def load_packages(threads: int | None) -> Packages:
    """The runtime with all kernels of its wheel registered; `threads` None is its own choice, if it has the cores."""
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
    """Whether the wheel is there: `executorch` alone is a namespace that any folder of that name makes."""
    try:
        return find_spec("executorch.runtime") is not None
    except ModuleNotFoundError:
        return False


def available_cores() -> int | None:
    """Cores that this process is confined to, None if it is not.

    The runtime counts those of the machine, and threads that wait for each other on one core take many times as long.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return usable if usable != os.cpu_count() else None


def _library(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if not found:
        raise OSError(f"no {pattern} in {root.name}")
    return found[0]
