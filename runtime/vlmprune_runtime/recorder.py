"""Takes the times of a run as it goes on."""

from collections.abc import Generator
from dataclasses import dataclass, field
from time import perf_counter

from vlmprune_runtime.events import StageTimed, Timings
from vlmprune_runtime.state import State


@dataclass
class Recorder:
    """Holds the times that a run has measured so far."""

    start: float = field(default_factory=perf_counter)
    stages: list[StageTimed] = field(default_factory=list)
    ttft_ms: float = 0.0
    decode_ms: list[float] = field(default_factory=list)

    def passing(self, steps: Generator[StageTimed, None, State]) -> Generator[StageTimed, None, State]:
        """Yields each step of a prefill, whose time it notes, and returns the state after the last."""
        while True:
            try:
                run = next(steps)
            except StopIteration as stop:
                state: State = stop.value
                return state
            self.stages.append(run)
            yield run

    def timings(self) -> Timings:
        """Returns the times as the result of a run has them."""
        return Timings(tuple(self.stages), self.ttft_ms, tuple(self.decode_ms))
