"""The ExecuTorch engine with the runtime's own record (ETDump) of what every operator took.

`executorch.devtools.Inspector` counts an operator in a loop once, whatever its rounds; here the events are read as
they were written.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy.typing as npt

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.engines.executorch import ExecutorchEngine
from vlmprune_runtime.errors import EngineError

_KERNEL = "native_call_"
_NS_PER_MS = 1e6


class OperatorTime(NamedTuple):
    """One operator of one call of a stage, all its uses together; `delegated`: inside a delegate."""

    name: str
    delegated: bool
    uses: int
    ms: float


class StageTrace(NamedTuple):
    """One call of a stage: its whole time, and its operators in no order."""

    stage: str
    ms: float
    operators: tuple[OperatorTime, ...]


class TracedEngine:
    """Runs the stages as `ExecutorchEngine` does, somewhat slower."""

    def __init__(self, bundle: OpenBundle, threads: int | None, context_tokens: int) -> None:
        """Load all methods; errors are those of `ExecutorchEngine`."""
        self._engine = ExecutorchEngine(bundle, threads, context_tokens, traced=True)
        self._calls: list[str] = []

    def run(self, stage: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Outputs of the stage by name."""
        outputs = self._engine.run(stage, inputs)
        decodes = len(inputs.get("positions", ())) == 1
        self._calls.append(f"{stage}, decode" if decodes else stage)
        return outputs

    def traces(self) -> list[StageTrace]:
        """What every call so far took; `EngineError` if the runtime gave no record."""
        with TemporaryDirectory() as scratch:
            path = Path(scratch) / "etdump"
            self._engine.write_trace(path)
            blocks = _blocks(path)
        if len(blocks) != len(self._calls):
            raise EngineError("all", f"the runtime recorded {len(blocks)} of {len(self._calls)} calls")
        return [_trace(stage, events) for stage, events in zip(self._calls, blocks, strict=True)]


def _blocks(path: Path) -> list[list[Any]]:
    """The profiled events of each execution, in turn."""
    try:
        read = import_module("executorch.devtools.etdump.serialize").deserialize_from_etdump_flatcc
        runs = read(path.read_bytes()).run_data
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise EngineError("all", f"the runtime's record cannot be read: {error}") from None
    events = ([event.profile_event for event in run.events or () if event.profile_event] for run in runs)
    return [block for block in events if any(event.name == "Method::execute" for event in block)]


def _trace(stage: str, events: Iterable[Any]) -> StageTrace:
    whole, uses = 0.0, dict[tuple[str, bool], list[float]]()
    for event in events:
        ms = (event.end_time - event.start_time) / _NS_PER_MS
        whole += ms if event.name == "Method::execute" else 0
        for key in _operator(event):
            uses.setdefault(key, []).append(ms)
    operators = (OperatorTime(*key, len(times), sum(times)) for key, times in uses.items())
    return StageTrace(stage, whole, tuple(operators))


def _operator(event: Any) -> Iterator[tuple[str, bool]]:
    """Name of the operator that an event times, and whether a delegate ran it; nothing for what only surrounds one."""
    if event.delegate_debug_id_str:
        yield event.delegate_debug_id_str.rpartition(" #")[0] or event.delegate_debug_id_str, True
    elif event.name and event.name.startswith(_KERNEL):
        yield event.name.removeprefix(_KERNEL), False
