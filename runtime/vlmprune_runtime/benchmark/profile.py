"""`profile` lists the operators that a stage spends its time on, as the engine itself records them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

from pydantic import Field

from vlmprune_runtime import __version__
from vlmprune_runtime.benchmark.device import describe_device, read_device_state
from vlmprune_runtime.benchmark.loading import check_context_fits
from vlmprune_runtime.benchmark.measure import BenchmarkRequest, Progress, settings_of
from vlmprune_runtime.benchmark.record import Ms
from vlmprune_runtime.benchmark.run_metadata import Count, Device, Part, Settings, Tool
from vlmprune_runtime.benchmark.timed_run import run_timed
from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.engines import check_context
from vlmprune_runtime.engines.executorch_trace import OperatorTime, StageTrace, TracedEngine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Runner
from vlmprune_runtime.progress import hashing_of
from vlmprune_runtime.prompt import load_tokenizer

OPERATORS = 10
TRACED: dict[str, Callable[[OpenBundle, int | None, int], TracedEngine]] = {"executorch": TracedEngine}


class OperatorCost(Part):
    """Holds the time of an operator, all its uses in one call of a stage together, as the median over the calls.

    A `delegated` operator ran inside a delegate and has the delegate's own name.
    """

    name: str
    delegated: bool
    uses: Count
    ms: Ms


class StageCosts(Part):
    """Holds the whole time and the costliest operators of a stage; "tail, decode" is the tail's decoding of a token."""

    stage: str
    calls: Count
    ms: Ms
    operators: tuple[OperatorCost, ...]


class BundleProfile(Part):
    """Holds the stages of one pruned bundle in the order in which they first ran."""

    folder: str
    target: str
    stages: tuple[StageCosts, ...]


class ProfileRecord(Part):
    """Holds the profiles of bundles. Recording slows every operator down, so compare times within a profile only."""

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
    """Profiles the bundles one after the other, pruned, and returns their record.

    Raises `BadRequest` for a bundle whose engine records no operators, before any bundle is loaded.
    """
    settings, before = settings_of(request), read_device_state()
    bundles = [traceable(_opened(path, request, progress)) for path in paths]
    profiles = tuple(_profile(bundle, request, progress) for bundle in bundles)
    return ProfileRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool=Tool(name="vlmprune-bench --profile", version=__version__),
        device=describe_device(before, read_device_state()),
        settings=settings,
        profiles=profiles,
    )


def _opened(path: str | PathLike[str], request: BenchmarkRequest, progress: Progress) -> OpenBundle:
    hashing = hashing_of(f"loading {Path(path).name}", progress)
    return open_bundle(path, verify=request.verify, report=hashing)


def traceable(bundle: OpenBundle) -> OpenBundle:
    """Returns the bundle itself. Raises `BadRequest` unless its engine can record operators."""
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
    task = replace(request.task, asks_again=False)
    check_context_fits(runner, task)
    rounds = request.warmups + request.repetitions
    for turn in range(rounds):
        progress(f"round {turn + 1} of {rounds}: {bundle.folder.name}, pruned")
        run_timed(runner, task, prune=True)
    traces = engine.traces()
    kept = traces[len(traces) * request.warmups // rounds :]  # every round makes the same calls
    return BundleProfile(folder=bundle.folder.name, target=bundle.manifest.target, stages=costs(kept))


def costs(traces: Iterable[StageTrace]) -> tuple[StageCosts, ...]:
    """Returns the medians of each stage and of its costliest operators."""
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
    """Returns at most `OPERATORS` operators, those of the largest median over the calls.

    A call that does not use an operator counts as 0 ms.
    """
    times: dict[tuple[str, bool], list[OperatorTime]] = {}
    for operators in calls:
        for operator in operators:
            times.setdefault((operator.name, operator.delegated), []).append(operator)
    all_costs = (_cost(name, delegated, uses, len(calls)) for (name, delegated), uses in times.items())
    return tuple(sorted(all_costs, key=lambda cost: -cost.ms)[:OPERATORS])


def _cost(name: str, delegated: bool, uses: list[OperatorTime], calls: int) -> OperatorCost:
    unused = [0.0] * (calls - len(uses))
    ms = median([use.ms for use in uses] + unused)
    return OperatorCost(name=name, delegated=delegated, uses=round(median(use.uses for use in uses)), ms=ms)
