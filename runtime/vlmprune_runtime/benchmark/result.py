"""A bundle's laps as one part of the record."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from vlmprune_runtime.benchmark.circumstances import Engine, Measured
from vlmprune_runtime.benchmark.lap import Lap, Task
from vlmprune_runtime.benchmark.loading import Entrant, cache_bytes
from vlmprune_runtime.benchmark.record import Flops, Result, Run, Way
from vlmprune_runtime.benchmark.summary import (
    STAGES,
    ceilings,
    decode_ms,
    llm_prefill_ms,
    ratios,
    spread,
    stage_spreads,
)
from vlmprune_runtime.bundle import file_sha256
from vlmprune_runtime.flops import decode_flops, prefill_flops, rows_of_decoders
from vlmprune_runtime.schema import MANIFEST, Bundle

ENGINE_PACKAGES = {"onnx": "onnxruntime", "executorch": "executorch", "coreml": "coremltools"}


def result_of(entrant: Entrant, task: Task) -> Result:
    """All that was measured of one bundle."""
    manifest, encoded = entrant.runner.bundle.manifest, entrant.runner.encode(task.prompt)
    tokens, images = len(encoded.token_ids), len(encoded.spans)
    unpruned, pruned = (laps_of(entrant, prune) for prune in (False, True))
    measured = ratios(unpruned, pruned)
    slow, fast = (prefill_flops(manifest, tokens, images, prune=prune) for prune in (False, True))
    return Result(
        bundle=_measured(entrant),
        engine=_engine(manifest),
        images=images,
        prompt_tokens=tokens,
        load_ms=None if entrant.load_ms is None else round(entrant.load_ms, 1),
        unpruned=_way(manifest, unpruned, _flops(manifest, tokens, images, prune=False)),
        pruned=_way(manifest, pruned, _flops(manifest, tokens, images, prune=True)),
        ratios=measured,
        ceilings=ceilings(measured, slow, fast, unpruned),
        memory=entrant.memory,
        runs=tuple(_run(nth, prune, lap) for (nth, prune), lap in entrant.laps.items()),
    )


def laps_of(entrant: Entrant, prune: bool) -> list[Lap]:
    """The laps of one way, by round."""
    return [lap for (_, pruned), lap in sorted(entrant.laps.items()) if pruned is prune]


def _way(manifest: Bundle, laps: Sequence[Lap], flops: Flops) -> Way:
    times = [lap.timings for lap in laps]
    decode = spread([decode_ms(lap) for lap in times]) if times[0].decode_ms else None
    return Way(
        stages_ms=stage_spreads(laps),
        llm_prefill_ms=spread([llm_prefill_ms(lap) for lap in times]),
        ttft_ms=spread([lap.ttft_ms for lap in times]),
        decode_ms_per_token=decode,
        decode_tokens_per_s=round(1000 / decode.p50, 3) if decode and decode.p50 else None,
        flops=flops,
        kv_cache_filled_bytes=cache_bytes(manifest, laps[-1].past_tokens),
    )


def _flops(manifest: Bundle, tokens: int, images: int, *, prune: bool) -> Flops:
    first = prefill_flops(manifest, tokens, images, prune=prune)
    then = decode_flops(manifest, rows_of_decoders(manifest, tokens, images, prune=prune))
    return Flops(vision=first.vision, head=first.head, tail=first.tail, decode=then.llm)


def _run(nth: int, prune: bool, lap: Lap) -> Run:
    ran = {timed.stage for timed in lap.timings.stages}
    return Run(
        round=nth,
        pruned=prune,
        stages_ms={stage: round(lap.timings.stage_ms(stage), 4) for stage in STAGES if stage in ran},
        ttft_ms=round(lap.timings.ttft_ms, 4),
        decode_ms=tuple(round(ms, 4) for ms in lap.timings.decode_ms),
    )


def _measured(entrant: Entrant) -> Measured:
    bundle = entrant.runner.bundle
    manifest = bundle.manifest
    return Measured(
        name=manifest.name,
        folder=bundle.folder.resolve().name,
        manifest_sha256=file_sha256(bundle.folder / MANIFEST),
        verified=entrant.verified,
        source_model=manifest.source.model,
        source_sha256=manifest.source.sha256,
        model_type=manifest.model_type,
        target=manifest.target,
        quantisation=manifest.quantisation,
        method=manifest.pruner.method,
        layer=manifest.layer,
        visual_tokens=manifest.visual_tokens,
        keep=manifest.keep,
        versions=manifest.versions,
    )


def _engine(manifest: Bundle) -> Engine:
    name = ENGINE_PACKAGES[manifest.target]
    try:
        return Engine(name=name, version=version(name))
    except PackageNotFoundError:
        return Engine(name=name, version=None)
