"""Runs ExecuTorch programs, and reads the time of every operator from the runtime's own record (ETDump).

`executorch.devtools.Inspector` counts an operator in a loop only once, so this module reads the events themselves.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy.typing as npt

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.engines.executorch import ExecutorchEngine
from vlmprune_runtime.engines.signature import rows_and_past
from vlmprune_runtime.errors import EngineError
from vlmprune_runtime.schema import Stage

_KERNEL = "native_call_"
_NS_PER_MS = 1e6


class OperatorTime(NamedTuple):
    """Holds the time of all uses of an operator in one call of a stage; `delegated` uses ran inside a delegate."""

    name: str
    delegated: bool
    uses: int
    ms: float


class StageTrace(NamedTuple):
    """Holds the whole time of one call of a stage, and its operators in no particular order."""

    stage: str
    ms: float
    operators: tuple[OperatorTime, ...]


class TracedEngine:
    """Runs the stages as `ExecutorchEngine` does, somewhat slower."""

    def __init__(self, bundle: OpenBundle, threads: int | None, context_tokens: int) -> None:
        """Loads all methods. Raises the errors of `ExecutorchEngine`."""
        self._engine = ExecutorchEngine(bundle, threads, context_tokens, traced=True)
        self._manifest, self._calls = bundle.manifest, list[str]()

    def run(self, stage: str, inputs: Mapping[str, npt.NDArray[Any]], *, grid: int = 0) -> Tensors:
        """Returns the outputs of the stage by name."""
        outputs = self._engine.run(stage, inputs, grid=grid)
        declared = self._manifest.stage(stage)
        decodes = declared.cache is not None and rows_and_past(declared, inputs)[0] == 1
        self._calls.append(f"{stage}, decode" if decodes else stage)
        return outputs

    def traces(self) -> list[StageTrace]:
        """Returns the times of every call so far. Raises `EngineError` if the runtime recorded none."""
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / "etdump"
            self._engine.write_trace(path)
            blocks = _blocks(path)
        if len(blocks) != len(self._calls):
            raise EngineError("all", f"the runtime recorded {len(blocks)} of {len(self._calls)} calls")
        kernels = {name: _unnamed_kernels(self._manifest.stage(name)) for name in self._manifest.stages}
        return [
            _trace(stage, events, kernels[stage.partition(",")[0]])
            for stage, events in zip(self._calls, blocks, strict=True)
        ]


def _blocks(path: Path) -> list[list[Any]]:
    """Returns the profiled events of each execution, in turn."""
    try:
        read = import_module("executorch.devtools.etdump.serialize").deserialize_from_etdump_flatcc
        runs = read(path.read_bytes()).run_data
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise EngineError("all", f"the runtime's record cannot be read: {error}") from None
    events = ([event.profile_event for event in run.events or () if event.profile_event] for run in runs)
    return [block for block in events if any(event.name == "Method::execute" for event in block)]


def _trace(stage: str, events: Iterable[Any], unnamed: str) -> StageTrace:
    """Sums the events of one call; `unnamed` stands for kernels that do not record their names."""
    whole, uses = 0.0, dict[tuple[str, bool], list[float]]()
    calls, named = dict[tuple[int, int], list[float]](), set[tuple[int, int]]()
    for event in events:
        ms, place = (event.end_time - event.start_time) / _NS_PER_MS, (event.chain_index, event.instruction_id)
        if event.name == "Method::execute":
            whole = ms
        elif event.delegate_debug_id_str:
            name = event.delegate_debug_id_str
            uses.setdefault((name.rpartition(" #")[0] or name, True), []).append(ms)
        elif event.name == "OPERATOR_CALL":
            calls.setdefault(place, []).append(ms)
        elif event.name and event.name.startswith(_KERNEL):
            uses.setdefault((event.name.removeprefix(_KERNEL), False), []).append(ms)
            named.add(place)
    if rest := [ms for place, times in calls.items() if place not in named for ms in times]:
        uses[unnamed, False] = rest
    operators = (OperatorTime(*key, len(times), sum(times)) for key, times in uses.items())
    return StageTrace(stage, whole, tuple(operators))


def _unnamed_kernels(stage: Stage) -> str:
    """Returns the kernels of a stage that are not PyTorch's own, such as its attention, since they record no names."""
    operators = stage.lowering.operators if stage.lowering else ()
    own = [name for name in operators if not name.startswith(("aten::", "executorch_prim::", "dim_order_ops::"))]
    return ", ".join(own) or "executorch_prim"
