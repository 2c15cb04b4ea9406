"""Times one run, from an image file and a question to a fixed number of tokens."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.decode import decode, extend_steps
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import StageTimed, Timings, ms_since
from vlmprune_runtime.generate import Runner
from vlmprune_runtime.image_loading import ImageSource
from vlmprune_runtime.prefill import prefill_steps
from vlmprune_runtime.prompt import encode_follow_up
from vlmprune_runtime.sample import SAMPLE_FOLLOW_UP
from vlmprune_runtime.sampling import greedy
from vlmprune_runtime.state import State


@dataclass(frozen=True)
class Task:
    """Describes the work of every run: so many `tokens` are decoded greedily.

    Stop tokens do not end a run, and the bundle's generation settings are not used. `follow_up` None is a sample
    question, which is asked of the bundles that have room for it; without `asks_again` there is none.
    """

    images: Sequence[ImageSource]
    prompt: str
    tokens: int
    follow_up: str | None = None
    asks_again: bool = True


@dataclass(frozen=True)
class TimedRun:
    """Holds the times of one run, and how many tokens the cache of each decoder stage holds after the answer.

    `follow_up_ms` is the time to the first token behind the further question, None if it was not asked.
    """

    timings: Timings
    past_tokens: dict[str, int]
    follow_up_ms: float | None = None


def run_timed(runner: Runner, task: Task, *, prune: bool) -> TimedRun:
    """Runs the task once, timed as `Runner.stream` times it."""
    start = perf_counter()
    question = runner.ask(task.prompt, task.images, prune=prune)
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
    used, timings = len(question.prompt.token_ids) + task.tokens, Timings(tuple(stages), ttft_ms, tuple(decode_ms))
    return TimedRun(timings, state.past_tokens, _follow_up_ms(runner, task, (used, token), state))


def follow_up_tokens(runner: Runner, task: Task, used: int) -> npt.NDArray[np.int64] | None:
    """Returns the tokens of the further question behind so many `used` ones.

    The sample question gives None where the bundle or its context has no room. Raises `BadRequest` for another one.
    """
    if not task.asks_again:
        return None
    try:
        spec = runner.bundle.manifest.prompt
        ids = encode_follow_up(runner.tokenizer, spec, SAMPLE_FOLLOW_UP if task.follow_up is None else task.follow_up)
        if used + len(ids) > runner.context_tokens:
            raise BadRequest(
                f"{runner.bundle.folder.name}: prompt, answer and follow-up take {used + len(ids)} tokens, "
                f"the context has {runner.context_tokens}"
            )
    except BadRequest:
        if task.follow_up is None:
            return None
        raise
    return ids


def _follow_up_ms(runner: Runner, task: Task, last: tuple[int, int], state: State) -> float | None:
    """Returns the time of the first token behind the further question; `last` is the place of a token, and its id."""
    start = perf_counter()
    ids = follow_up_tokens(runner, task, last[0])
    if ids is None:
        return None
    steps = extend_steps(runner.bundle.manifest, runner.engine, np.array([last[1], *ids]), state)
    greedy(_collect(steps, []).logits)
    return ms_since(start)


def _collect(steps: Generator[StageTimed, None, State], stages: list[StageTimed]) -> State:
    while True:
        try:
            stages.append(next(steps))
        except StopIteration as stop:
            state: State = stop.value
            return state
