"""`profile`: which operators a stage spends its time on, as the engine itself records it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from os import PathLike
from statistics import median
from typing import Annotated, Literal

from pydantic import Field

from vlmprune_runtime import __version__
from vlmprune_runtime.benchmark.device import describe_device, read_device_state
from vlmprune_runtime.benchmark.loading import check_room
from vlmprune_runtime.benchmark.measure import BenchmarkRequest, Progress, settings_of
from vlmprune_runtime.benchmark.record import Ms
from vlmprune_runtime.benchmark.run_metadata import Count, Device, Part, Settings, Tool
from vlmprune_runtime.benchmark.timed_run import run_timed
from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.engines import check_context
from vlmprune_runtime.engines.executorch_trace import OperatorTime, StageTrace, TracedEngine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Runner
from vlmprune_runtime.prompt import load_tokenizer

OPERATORS = 10
TRACED: dict[str, Callable[[OpenBundle, int | None, int], TracedEngine]] = {"executorch": TracedEngine}


class OperatorCost(Part):
    """An operator of a stage, all its uses in one call together; times are medians over the calls.

    `delegated`: it ran inside a delegate and has the delegate's own name.
    """

    name: str
    delegated: bool
    uses: Count
    ms: Ms


class StageCosts(Part):
    """A stage: its whole time and its costliest operators. "head, decode" and "tail, decode" are those of one token."""

    stage: str
    calls: Count
    ms: Ms
    operators: tuple[OperatorCost, ...]


class BundleProfile(Part):
    """The stages of one bundle in the order they first ran, pruned."""

    folder: str
    target: str
    stages: tuple[StageCosts, ...]


class ProfileRecord(Part):
    """Profiles of one or more bundles. Recording slows every operator down: times are for comparison within."""

    kind: Literal["profile"] = "profile"
    record_version: Literal[1] = 1
    created: str
    tool: Tool
    device: Device
    settings: Settings
    profiles: Annotated[tuple[BundleProfile, ...], Field(min_length=1)]


def profile(
    paths: Sequence[str | PathLike[str]], request: BenchmarkRequest, *, progress: Progress = lambda line: None
) -> ProfileRecord:
    """The record of all bundles, pruned, one after the other.

    Errors: `BadRequest` for a bundle whose engine records nothing, before any is loaded.
    """
    settings, before = settings_of(request), read_device_state()
    bundles = [traceable(open_bundle(path, verify=request.verify)) for path in paths]
    profiles = tuple(_profile(bundle, request, progress) for bundle in bundles)
    return ProfileRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool=Tool(name="vlmprune-bench --profile", version=__version__),
        device=describe_device(before, read_device_state()),
        settings=settings,
        profiles=profiles,
    )


def traceable(bundle: OpenBundle) -> OpenBundle:
    """The bundle itself; `BadRequest` unless its engine can record operators."""
    target = bundle.manifest.target
    if target not in TRACED:
        raise BadRequest(f"--profile: engine {target!r} of {bundle.folder.name} records no operators; "
                         f"allowed: {', '.join(TRACED)}")  # fmt: skip
    return bundle


def _profile(bundle: OpenBundle, request: BenchmarkRequest, progress: Progress) -> BundleProfile:
    progress(f"loading {bundle.folder.name}")
    context = check_context(bundle, None)
    engine = TRACED[bundle.manifest.target](bundle, request.threads, context)
    runner = Runner(bundle, engine, load_tokenizer(bundle), context)
    check_room(runner, request.task)
    rounds = request.warmups + request.repetitions
    for turn in range(rounds):
        progress(f"round {turn + 1} of {rounds}: {bundle.folder.name}, pruned")
        run_timed(runner, request.task, prune=True)
    traces = engine.traces()
    kept = traces[len(traces) * request.warmups // rounds :]  # every round makes the same calls
    return BundleProfile(folder=bundle.folder.name, target=bundle.manifest.target, stages=costs(kept))


def costs(traces: Iterable[StageTrace]) -> tuple[StageCosts, ...]:
    """Medians per stage, each with its costliest operators."""
    stages: dict[str, list[StageTrace]] = {}
    for trace in traces:
        stages.setdefault(trace.stage, []).append(trace)
    return tuple(
        StageCosts(
            stage=name,
            calls=len(calls),
            ms=median(call.ms for call in calls),
            operators=costliest([call.operators for call in calls]),
        )
        for name, calls in stages.items()
    )


def costliest(calls: Sequence[Sequence[OperatorTime]]) -> tuple[OperatorCost, ...]:
    """The operators with the largest median over the calls, at most `OPERATORS`; a call without one counts 0."""
    found: dict[tuple[str, bool], list[OperatorTime]] = {}
    for operators in calls:
        for one in operators:
            found.setdefault((one.name, one.delegated), []).append(one)
    made = (_cost(name, delegated, uses, len(calls)) for (name, delegated), uses in found.items())
    return tuple(sorted(made, key=lambda cost: -cost.ms)[:OPERATORS])


def _cost(name: str, delegated: bool, uses: list[OperatorTime], calls: int) -> OperatorCost:
    idle = [0.0] * (calls - len(uses))
    ms = median([one.ms for one in uses] + idle)
    return OperatorCost(name=name, delegated=delegated, uses=round(median(one.uses for one in uses)), ms=ms)
