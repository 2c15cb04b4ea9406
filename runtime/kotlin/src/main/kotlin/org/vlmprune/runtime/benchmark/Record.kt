package org.vlmprune.runtime.benchmark

/** The median, the 90th percentile and the least time of the repetitions, in milliseconds. */
data class Spread(val p50: Double, val p90: Double, val min: Double)

/** The FLOPs of one prefill and of the first decode step; a count is null where it is not known. */
data class Flops(val vision: Long?, val head: Long, val tail: Long, val decode: Long)

/**
 * The statistics of one mode: the bundle pruned, or the same graphs without the prune stages.
 *
 * [ttftMs] runs from the picture file and the question to the choice of the first token. [followUpMs] runs from a further
 * question behind the answer to the choice of the next first token; null if none was asked. [kvCacheFilledBytes] counts
 * the cache rows in use after the last token of the answer.
 */
data class ModeStats(
    val stagesMs: Map<String, Spread>,
    val llmPrefillMs: Spread,
    val ttftMs: Spread,
    val decodeMsPerToken: Spread?,
    val decodeTokensPerS: Double?,
    val followUpMs: Spread?,
    val flops: Flops?,
    val kvCacheFilledBytes: Long?,
)

/** The median and the 10th and 90th percentile of the ratios of unpruned to pruned time within each pair. */
data class PairedRatio(val median: Double, val p10: Double, val p90: Double)

/** How many times faster the pruned runs were measured to be. */
data class Ratios(
    val tail: PairedRatio,
    val llmPrefill: PairedRatio,
    val ttft: PairedRatio,
    val decode: PairedRatio?,
    val followUp: PairedRatio?,
)

/**
 * How many times faster pruned runs could be, and which share of it they reached (measured over possible).
 *
 * [llmPrefill] and [ttft] follow from the FLOPs, [ttftByTime] from the measured unpruned times of the stages, if only the
 * tail shrank in proportion to its FLOPs and pruning itself took no time.
 */
data class Ceilings(
    val llmPrefill: Double,
    val llmPrefillShare: Double,
    val ttft: Double?,
    val ttftShare: Double?,
    val ttftByTime: Double,
    val ttftByTimeShare: Double,
)

/** The memory of the whole process in bytes, as [measure] ("rss" or "pss") counts it; null where it is not known. */
data class MemoryUse(
    val measure: String,
    val beforeLoadBytes: Long?,
    val afterLoadBytes: Long?,
    val prunedPeakBytes: Long?,
    val unprunedPeakBytes: Long?,
    val kvCacheAllocatedBytes: Long?,
)

/** The times of one repetition. */
data class Run(
    val round: Int,
    val pruned: Boolean,
    val stagesMs: Map<String, Double>,
    val ttftMs: Double,
    val decodeMs: List<Double>,
    val followUpMs: Double?,
)

/** The measurements of one bundle on one engine; [followUpTokens] are run for the further question, null for none. */
data class Result(
    val bundle: BundleInfo,
    val engine: EngineInfo,
    val images: Int,
    val promptTokens: Int,
    val followUpTokens: Int?,
    val loadMs: Double?,
    val unpruned: ModeStats,
    val pruned: ModeStats,
    val ratios: Ratios,
    val ceilings: Ceilings?,
    val memory: MemoryUse,
    val runs: List<Run>,
)

/** One interleaved measurement on one device, as the JSON Schema of every runner's record says; [created] is UTC. */
data class BenchmarkRecord(
    val created: String,
    val tool: Tool,
    val device: Device,
    val settings: Settings,
    val results: List<Result>,
) {
    /** Returns the record as the JSON text that `vlmprune-report` reads. */
    fun toJson(): String = recordJson(this)
}
