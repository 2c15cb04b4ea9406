"""Turns the timed runs of a bundle into its part of the record."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from vlmprune_runtime.benchmark.loading import LoadedBundle, cache_bytes
from vlmprune_runtime.benchmark.record import Flops, ModeStats, Result, Run
from vlmprune_runtime.benchmark.run_metadata import BundleInfo, Engine
from vlmprune_runtime.benchmark.summary import (
    STAGES,
    ceilings,
    decode_ms,
    follow_up_times,
    ratios,
    spread,
    stage_spreads,
)
from vlmprune_runtime.benchmark.timed_run import Task, TimedRun, follow_up_tokens
from vlmprune_runtime.bundle import file_sha256
from vlmprune_runtime.flops import decode_flops, prefill_flops, rows_of_decoders
from vlmprune_runtime.schema import MANIFEST, Bundle, Grid

ENGINE_PACKAGES = {"onnx": "onnxruntime", "executorch": "executorch", "coreml": "coremltools"}


def result_of(loaded_bundle: LoadedBundle, task: Task) -> Result:
    """Returns all measurements of one bundle."""
    runner, manifest = loaded_bundle.runner, loaded_bundle.runner.bundle.manifest
    whole, kept = (runner.ask(task.prompt, task.images, prune=prune).prompt for prune in (False, True))
    tokens, grids = len(whole.token_ids), whole.grids
    kept_tokens = len(kept.token_ids)
    further = follow_up_tokens(loaded_bundle.runner, task, tokens + task.tokens)
    unpruned, pruned = (runs_of(loaded_bundle, prune) for prune in (False, True))
    measured = ratios(unpruned, pruned)
    slow = prefill_flops(manifest, tokens, grids, prune=False)
    fast = prefill_flops(manifest, kept_tokens, kept.grids, prune=True)
    return Result(
        bundle=_bundle_info(loaded_bundle, manifest.grids[grids[0]], manifest.grids[kept.grids[0]]),
        engine=_engine(manifest),
        images=len(task.images),
        prompt_tokens=tokens,
        follow_up_tokens=None if further is None else 1 + len(further),
        load_ms=None if loaded_bundle.load_ms is None else round(loaded_bundle.load_ms, 1),
        unpruned=_mode_stats(manifest, unpruned, _flops(manifest, tokens, grids, prune=False)),
        pruned=_mode_stats(manifest, pruned, _flops(manifest, kept_tokens, kept.grids, prune=True)),
        ratios=measured,
        ceilings=ceilings(measured, slow, fast, unpruned),
        memory=loaded_bundle.memory,
        runs=tuple(_run(nth, prune, run) for (nth, prune), run in loaded_bundle.runs.items()),
    )


def runs_of(loaded_bundle: LoadedBundle, prune: bool) -> list[TimedRun]:
    """Returns the runs of one mode, by round."""
    return [run for (_, pruned), run in sorted(loaded_bundle.runs.items()) if pruned is prune]


def _mode_stats(manifest: Bundle, runs: Sequence[TimedRun], flops: Flops) -> ModeStats:
    times = [run.timings for run in runs]
    decode = spread([decode_ms(run) for run in times]) if times[0].decode_ms else None
    return ModeStats(
        stages_ms=stage_spreads(runs),
        llm_prefill_ms=spread([run.llm_prefill_ms for run in times]),
        ttft_ms=spread([run.ttft_ms for run in times]),
        decode_ms_per_token=decode,
        decode_tokens_per_s=round(1000 / decode.p50, 3) if decode and decode.p50 else None,
        flops=flops,
        kv_cache_filled_bytes=cache_bytes(manifest, runs[-1].past_tokens),
        follow_up_ms=spread(follow_up_times(runs)) if follow_up_times(runs) else None,
    )


def _flops(manifest: Bundle, tokens: int, grids: Sequence[int], *, prune: bool) -> Flops:
    first = prefill_flops(manifest, tokens, grids, prune=prune)
    then = decode_flops(manifest, rows_of_decoders(manifest, tokens, grids, prune=prune))
    return Flops(vision=first.vision, head=first.head, tail=first.tail, decode=then.llm)


def _run(nth: int, prune: bool, run: TimedRun) -> Run:
    ran = {timed.stage for timed in run.timings.stages}
    return Run(
        round=nth,
        pruned=prune,
        stages_ms={stage: round(run.timings.stage_ms(stage), 4) for stage in STAGES if stage in ran},
        ttft_ms=round(run.timings.ttft_ms, 4),
        decode_ms=tuple(round(ms, 4) for ms in run.timings.decode_ms),
        follow_up_ms=None if run.follow_up_ms is None else round(run.follow_up_ms, 4),
    )


def _bundle_info(loaded_bundle: LoadedBundle, grid: Grid, kept_grid: Grid) -> BundleInfo:
    bundle = loaded_bundle.runner.bundle
    manifest = bundle.manifest
    return BundleInfo(
        name=manifest.name,
        folder=bundle.folder.resolve().name,
        manifest_sha256=file_sha256(bundle.folder / MANIFEST),
        verified=loaded_bundle.verified,
        source_model=manifest.source.model,
        source_sha256=manifest.source.sha256,
        model_type=manifest.model_type,
        target=manifest.target,
        quantisation=manifest.quantisation,
        method=manifest.pruner.method,
        layer=manifest.layer,
        visual_tokens=grid.visual_tokens,
        keep=kept_grid.kept_tokens,
        versions=manifest.versions,
    )


def _engine(manifest: Bundle) -> Engine:
    name = ENGINE_PACKAGES[manifest.target]
    try:
        return Engine(name=name, version=version(name))
    except PackageNotFoundError:
        return Engine(name=name, version=None)
