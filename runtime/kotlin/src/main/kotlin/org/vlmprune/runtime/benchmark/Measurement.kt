package org.vlmprune.runtime.benchmark

import org.vlmprune.runtime.EncodedPrompt
import org.vlmprune.runtime.Runner
import org.vlmprune.runtime.StageFlops
import org.vlmprune.runtime.decodeFlops
import org.vlmprune.runtime.manifest.MANIFEST
import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.Role
import org.vlmprune.runtime.prefillFlops
import org.vlmprune.runtime.rowsOfDecoders
import org.vlmprune.runtime.sha256Of

/** The timed runs of a bundle by round, and what they ran on. */
internal class Measurement(private val runner: Runner, private val task: Task, private val load: LoadCost, private val peaks: Peaks) {
    private val manifest = runner.bundle.manifest
    private val runs = LinkedHashMap<ScheduledRun, TimedRun>()

    fun add(scheduled: ScheduledRun, run: TimedRun) {
        runs[scheduled] = run
    }

    /** Returns all measurements of the bundle. */
    fun result(): Result {
        val (whole, kept) = listOf(false, true).map { Mode(runner.ask(task.request(it)).prompt, of(it), it) }
        val measured = ratios(whole.runs, kept.runs)
        val further = followUpTokens(runner, task, whole.prompt.tokenIds.size + task.tokens)
        return Result(
            bundle = bundleInfo(whole.prompt.grids[0], kept.prompt.grids[0]),
            engine = EngineInfo(runner.engine.name, runner.engine.version),
            images = task.images.size,
            promptTokens = whole.prompt.tokenIds.size,
            followUpTokens = further?.let { 1 + it.size },
            loadMs = load.loadMs?.rounded(1),
            unpruned = whole.stats(),
            pruned = kept.stats(),
            ratios = measured,
            ceilings = ceilings(measured, whole.flops, kept.flops, whole.runs),
            memory = memory(),
            runs = runs.map { (scheduled, run) -> recorded(scheduled, run) },
        )
    }

    /** Returns the runs of one mode, by round. */
    private fun of(prune: Boolean): List<TimedRun> =
        runs.entries.filter { it.key.prune == prune }.sortedBy { it.key.round }.map { it.value }

    private inner class Mode(val prompt: EncodedPrompt, val runs: List<TimedRun>, private val prune: Boolean) {
        val flops: StageFlops get() = prefillFlops(manifest, prompt.tokenIds.size, prompt.grids, prune)

        fun stats(): ModeStats {
            val times = runs.map { it.timings }
            val decode = if (times[0].decodeMs.isEmpty()) null else spread(times.map { it.meanDecodeMs() })
            val further = runs.mapNotNull { it.followUpMs }
            val next = decodeFlops(manifest, rowsOfDecoders(manifest, prompt.tokenIds.size, prompt.grids, prune))
            return ModeStats(
                stagesMs = stageSpreads(runs),
                llmPrefillMs = spread(times.map { it.llmPrefillMs }),
                ttftMs = spread(times.map { it.ttftMs }),
                decodeMsPerToken = decode,
                decodeTokensPerS = decode?.p50?.takeIf { it > 0 }?.let { (1000 / it).rounded(3) },
                followUpMs = if (further.isEmpty()) null else spread(further),
                flops = Flops(flops.vision, flops.head, flops.tail, next.llm),
                kvCacheFilledBytes = cacheBytes(manifest, runs.last().pastTokens),
            )
        }
    }

    private fun recorded(scheduled: ScheduledRun, run: TimedRun) = Run(
        round = scheduled.round,
        pruned = scheduled.prune,
        stagesMs = run.timings.stageNames().associateWith { run.timings.stageMs(it).rounded() },
        ttftMs = run.timings.ttftMs.rounded(),
        decodeMs = run.timings.decodeMs.map { it.rounded() },
        followUpMs = run.followUpMs?.rounded(),
    )

    private fun memory() = MemoryUse(
        measure = "rss",
        beforeLoadBytes = load.beforeBytes,
        afterLoadBytes = load.afterBytes,
        prunedPeakBytes = peaks.prunedBytes,
        unprunedPeakBytes = peaks.unprunedBytes,
        kvCacheAllocatedBytes = cacheBytes(manifest, manifest.stagesOf(Role.DECODER).associateWith { runner.contextTokens }),
    )

    private fun bundleInfo(grid: Int, keptGrid: Int) = BundleInfo(
        name = manifest.name,
        folder = runner.bundle.folder.toAbsolutePath().normalize().fileName.toString(),
        manifestSha256 = sha256Of(runner.bundle.folder.resolve(MANIFEST)),
        verified = runner.bundle.verified,
        sourceModel = manifest.origin.model,
        sourceSha256 = manifest.origin.sha256,
        modelType = manifest.modelType,
        target = manifest.target,
        quantisation = manifest.quantisation,
        method = manifest.prunerMethod,
        layer = manifest.cuts.lastOrNull()?.layer ?: 0,
        visualTokens = manifest.grids[grid].visualTokens,
        keep = manifest.grids[keptGrid].keptTokens,
        versions = manifest.versions,
    )
}

/** The most resident memory of the first run in each mode, the pruned one before the other. */
internal class Peaks(val prunedBytes: Long?, val unprunedBytes: Long?)

/** Returns the size of the keys and values of so many tokens in the cache of each decoder stage. */
internal fun cacheBytes(manifest: Manifest, tokens: Map<String, Int>): Long = tokens.entries.sumOf { (name, count) ->
    val cache = manifest.stages.getValue(name).cache
    if (cache == null) 0L else 2L * count * cache.layers.size * cache.kvHeads * cache.headDim * cache.dtype.bytes
}
