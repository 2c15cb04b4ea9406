"""Sums timed runs up as medians, paired ratios and fractions of the ceiling."""

from collections.abc import Callable, Sequence

import numpy as np

from vlmprune_runtime.benchmark.record import Ceilings, PairedRatio, Ratios, Spread, Stage
from vlmprune_runtime.benchmark.timed_run import TimedRun
from vlmprune_runtime.events import TIMED_STAGES, Timings
from vlmprune_runtime.flops import StageFlops, ceiling

STAGES: tuple[Stage, ...] = TIMED_STAGES

Reading = Callable[[Timings], float]


def spread(values: Sequence[float]) -> Spread:
    """Returns percentiles, interpolated between the nearest two values, and the least value.

    >>> spread([4.0, 1.0, 2.0, 3.0, 11.0])
    Spread(p50=3.0, p90=8.2, min=1.0)
    """
    p50, p90 = (round(float(np.percentile(values, part)), 4) for part in (50, 90))
    return Spread(p50=p50, p90=p90, min=round(min(values), 4))


def paired_ratio(slow: Sequence[float], fast: Sequence[float]) -> PairedRatio:
    """Returns percentiles of the ratios within the pairs, so that load that slows both runs of a pair cancels out.

    >>> paired_ratio([10.0, 40.0, 90.0], [5.0, 10.0, 30.0])
    PairedRatio(median=3.0, p10=2.2, p90=3.8)
    """
    ratios = [before / after for before, after in zip(slow, fast, strict=True)]
    p10, p50, p90 = (round(float(np.percentile(ratios, part)), 4) for part in (10, 50, 90))
    return PairedRatio(median=p50, p10=p10, p90=p90)


def decode_ms(timings: Timings) -> float:
    """Returns the mean time of a token after the first."""
    return sum(timings.decode_ms) / len(timings.decode_ms)


def stage_spreads(runs: Sequence[TimedRun]) -> dict[Stage, Spread]:
    """Returns the spread of the times of every stage that ran."""
    ran = {run.stage for run in runs[0].timings.stages}
    return {stage: spread(stage_times(runs, stage)) for stage in STAGES if stage in ran}


def stage_times(runs: Sequence[TimedRun], stage: Stage) -> list[float]:
    """Returns the stage's time in each run, all images together."""
    return [run.timings.stage_ms(stage) for run in runs]


def follow_up_times(runs: Sequence[TimedRun]) -> list[float]:
    """Returns the times of the first token behind the further question; none if it was not asked."""
    return [run.follow_up_ms for run in runs if run.follow_up_ms is not None]


def ratios(unpruned: Sequence[TimedRun], pruned: Sequence[TimedRun]) -> Ratios:
    """Returns the ratios of unpruned to pruned times; the two timed runs of a round are a pair."""

    def ratio(reading: Reading) -> PairedRatio:
        sides = ([reading(run.timings) for run in runs] for runs in (unpruned, pruned))
        return paired_ratio(*sides)

    further = [follow_up_times(runs) for runs in (unpruned, pruned)]
    return Ratios(
        tail=ratio(lambda timings: timings.stage_ms("tail")),
        llm_prefill=ratio(lambda timings: timings.llm_prefill_ms),
        ttft=ratio(lambda timings: timings.ttft_ms),
        decode=ratio(decode_ms) if unpruned[0].timings.decode_ms else None,
        follow_up=paired_ratio(*further) if all(further) else None,
    )


def ceilings(measured: Ratios, slow: StageFlops, fast: StageFlops, unpruned: Sequence[TimedRun]) -> Ceilings:
    """Returns the possible speedups, by FLOPs and by the unpruned times, and the fraction that was measured."""
    most = ceiling(slow, fast)
    by_time = ttft_by_time([run.timings for run in unpruned], fast.tail / slow.tail)
    return Ceilings(
        llm_prefill=round(most.llm_prefill, 4),
        llm_prefill_share=round(measured.llm_prefill.median / most.llm_prefill, 4),
        ttft=None if most.ttft is None else round(most.ttft, 4),
        ttft_share=None if most.ttft is None else round(measured.ttft.median / most.ttft, 4),
        ttft_by_time=round(by_time, 4),
        ttft_by_time_share=round(measured.ttft.median / by_time, 4),
    )


def ttft_by_time(unpruned: Sequence[Timings], tail_fraction: float) -> float:
    """Returns how many times sooner the first token could come if only the tail shrank, to that fraction of its time.

    >>> from vlmprune_runtime.events import StageTimed
    >>> ttft_by_time([Timings((StageTimed("tail", 80.0),), 100.0, ())], 0.25)
    2.5
    """
    shrunk_ms = [run.ttft_ms - (1 - tail_fraction) * run.stage_ms("tail") for run in unpruned]
    return float(np.median([run.ttft_ms / shrunk for run, shrunk in zip(unpruned, shrunk_ms, strict=True)]))
