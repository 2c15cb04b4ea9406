"""Loads a bundle and runs it once in either mode, and measures the time and the memory that this takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from time import perf_counter

from vlmprune_runtime.benchmark.memory import peak_bytes, reset_peak, resident_bytes
from vlmprune_runtime.benchmark.record import Memory
from vlmprune_runtime.benchmark.timed_run import Task, TimedRun, follow_up_tokens, run_timed
from vlmprune_runtime.engines import reference_note
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import ms_since
from vlmprune_runtime.generate import Runner, open_runner
from vlmprune_runtime.progress import Report, silent
from vlmprune_runtime.schema import Bundle, Cache

DTYPE_BYTES = {"float32": 4, "float16": 2, "uint8": 1, "int8": 1}


@dataclass(frozen=True)
class LoadedBundle:
    """Holds a loaded bundle, the cost of loading it, and its timed runs so far.

    The keys of `runs` are the round and whether the run was pruned.
    """

    runner: Runner
    load_ms: float | None
    verified: bool
    memory: Memory
    runs: dict[tuple[int, bool], TimedRun] = field(default_factory=dict)


def load_and_warm_up(
    path: str | PathLike[str], task: Task, threads: int | None, verify: bool, report: Report = silent
) -> LoadedBundle:
    """Loads the bundle and runs it once in each mode, pruned first; `report` gets how much of it is hashed.

    Raises `BadRequest` if the task does not fit it.
    """
    before = resident_bytes()
    start = perf_counter()
    runner = open_runner(path, verify=verify, threads=threads, report=report)
    if note := reference_note(runner.bundle):
        raise BadRequest(f"{runner.bundle.folder.name} cannot be timed here: {note}")
    load_ms, loaded = ms_since(start), resident_bytes()
    check_context_fits(runner, task)
    memory = Memory(
        measure="rss",
        before_load_bytes=before,
        after_load_bytes=loaded,
        pruned_peak_bytes=_peak_of_first_run(runner, task, prune=True),
        unpruned_peak_bytes=_peak_of_first_run(runner, task, prune=False),
        kv_cache_allocated_bytes=cache_bytes(
            runner.bundle.manifest, dict.fromkeys(runner.bundle.manifest.of_role("decoder"), runner.context_tokens)
        ),
    )
    return LoadedBundle(runner, load_ms, verify, memory)


def check_context_fits(runner: Runner, task: Task) -> None:
    """Raises `BadRequest` unless prompt and answer fit the context; the last token is not written to the cache."""
    prompt_tokens = len(runner.ask(task.prompt, task.images).prompt.token_ids)
    needed = prompt_tokens + task.tokens - 1
    if needed > runner.context_tokens:
        name, capacity = runner.bundle.folder.name, runner.context_tokens
        room = capacity - prompt_tokens + 1
        advice = f"; answers of {room} tokens fit" if room > 0 else ""
        raise BadRequest(f"{name}: prompt and answer take {needed} tokens, the context has {capacity}{advice}")
    follow_up_tokens(runner, task, prompt_tokens + task.tokens)


def cache_bytes(bundle: Bundle, tokens: Mapping[str, int]) -> int:
    """Returns the size of the keys and values of so many tokens in the cache of each decoder stage."""
    return sum(count * _row_bytes(bundle.stage(name).cache) for name, count in tokens.items())


def _row_bytes(cache: Cache | None) -> int:
    """Returns the size of the keys and values of one token in all layers of a stage."""
    if cache is None:
        return 0
    return 2 * len(cache.layers) * cache.kv_heads * cache.head_dim * DTYPE_BYTES[cache.dtype]


def _peak_of_first_run(runner: Runner, task: Task, *, prune: bool) -> int | None:
    reset_peak()
    run_timed(runner, task, prune=prune)
    return peak_bytes()
