package org.vlmprune.runtime.benchmark

import org.vlmprune.runtime.StageFlops
import org.vlmprune.runtime.TIMED_STAGES
import org.vlmprune.runtime.Timings
import org.vlmprune.runtime.ceiling
import java.math.BigDecimal
import java.math.RoundingMode

/** Returns a percentile, interpolated between the nearest two values. */
internal fun percentile(values: List<Double>, percent: Int): Double {
    val sorted = values.sorted()
    val at = percent / 100.0 * (sorted.size - 1)
    val low = at.toInt().coerceAtMost(maxOf(sorted.size - 2, 0))
    return sorted[low] + (at - low) * (sorted[minOf(low + 1, sorted.size - 1)] - sorted[low])
}

internal fun spread(values: List<Double>) =
    Spread(percentile(values, 50).rounded(), percentile(values, 90).rounded(), values.min().rounded())

/** Returns percentiles of the ratios within the pairs, so that load that slows both runs of a pair cancels out. */
internal fun pairedRatio(slow: List<Double>, fast: List<Double>): PairedRatio {
    val ratios = slow.zip(fast) { before, after -> before / after }
    return PairedRatio(percentile(ratios, 50).rounded(), percentile(ratios, 10).rounded(), percentile(ratios, 90).rounded())
}

internal fun Timings.meanDecodeMs(): Double = decodeMs.average()

/** Returns the spread of the times of every stage that ran. */
internal fun stageSpreads(runs: List<TimedRun>): Map<String, Spread> = runs.first().timings.stageNames()
    .associateWith { stage -> spread(runs.map { it.timings.stageMs(stage) }) }

internal fun Timings.stageNames(): List<String> = TIMED_STAGES.filter { stage -> stages.any { it.stage == stage } }

/** Returns the ratios of unpruned to pruned times; the two runs of a round are a pair. */
internal fun ratios(unpruned: List<TimedRun>, pruned: List<TimedRun>): Ratios {
    fun ratio(reading: (Timings) -> Double) = pairedRatio(unpruned.map { reading(it.timings) }, pruned.map { reading(it.timings) })
    val further = listOf(unpruned, pruned).map { runs -> runs.mapNotNull { it.followUpMs } }
    return Ratios(
        tail = ratio { it.stageMs("tail") },
        llmPrefill = ratio { it.llmPrefillMs },
        ttft = ratio { it.ttftMs },
        decode = if (unpruned[0].timings.decodeMs.isEmpty()) null else ratio { it.meanDecodeMs() },
        followUp = if (further.all { it.isNotEmpty() }) pairedRatio(further[0], further[1]) else null,
    )
}

/** Returns the possible speedups, by FLOPs and by the unpruned times, and the share of them that was measured. */
internal fun ceilings(measured: Ratios, slow: StageFlops, fast: StageFlops, unpruned: List<TimedRun>): Ceilings {
    val most = ceiling(slow, fast)
    val byTime = ttftByTime(unpruned.map { it.timings }, fast.tail.toDouble() / slow.tail)
    return Ceilings(
        llmPrefill = most.llmPrefill.rounded(),
        llmPrefillShare = (measured.llmPrefill.median / most.llmPrefill).rounded(),
        ttft = most.ttft?.rounded(),
        ttftShare = most.ttft?.let { (measured.ttft.median / it).rounded() },
        ttftByTime = byTime.rounded(),
        ttftByTimeShare = (measured.ttft.median / byTime).rounded(),
    )
}

/** Returns how many times sooner the first token could come if only the tail shrank, to that fraction of its time. */
internal fun ttftByTime(unpruned: List<Timings>, tailFraction: Double): Double =
    percentile(unpruned.map { it.ttftMs / (it.ttftMs - (1 - tailFraction) * it.stageMs("tail")) }, 50)

/** Returns a number with so many decimals, halves rounded to the even neighbour. */
internal fun Double.rounded(decimals: Int = 4): Double =
    if (isFinite()) BigDecimal(this).setScale(decimals, RoundingMode.HALF_EVEN).toDouble() else this
