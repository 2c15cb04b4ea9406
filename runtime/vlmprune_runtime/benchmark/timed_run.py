"""Times one run, from a picture file and a question to a fixed number of tokens."""

from collections.abc import Generator
from dataclasses import dataclass
from time import perf_counter

from vlmprune_runtime.events import StageTimed, Timings
from vlmprune_runtime.generate import Runner
from vlmprune_runtime.image_loading import ImageSource
from vlmprune_runtime.prefill import State, decode, ms_since, prefill_steps
from vlmprune_runtime.sampling import greedy


@dataclass(frozen=True)
class Task:
    """Describes the work of every run: so many `tokens` are decoded greedily.

    Stop tokens do not end a run, and the bundle's generation settings are not used.
    """

    image: ImageSource
    prompt: str
    tokens: int


@dataclass(frozen=True)
class TimedRun:
    """Holds the times of one run, and how many tokens the cache of each decoder stage holds at its end."""

    timings: Timings
    past_tokens: dict[str, int]


def run_timed(runner: Runner, task: Task, *, prune: bool) -> TimedRun:
    """Runs the task once, timed as `Runner.stream` times it."""
    start = perf_counter()
    question = runner.ask(task.prompt, [task.image])
    stages = [StageTimed("preprocess", ms_since(start))]
    steps = prefill_steps(runner.bundle.manifest, runner.engine, question.prompt, question.pixels, prune=prune)
    state = _collect(steps, stages)
    token = greedy(state.logits)
    ttft_ms = ms_since(start)
    decode_ms = []
    for _ in range(task.tokens - 1):
        began = perf_counter()
        state = decode(runner.bundle.manifest, runner.engine, token, state)
        token = greedy(state.logits)
        decode_ms.append(ms_since(began))
    return TimedRun(Timings(tuple(stages), ttft_ms, tuple(decode_ms)), state.past_tokens)


def _collect(steps: Generator[StageTimed, None, State], stages: list[StageTimed]) -> State:
    while True:
        try:
            stages.append(next(steps))
        except StopIteration as stop:
            state: State = stop.value
            return state
