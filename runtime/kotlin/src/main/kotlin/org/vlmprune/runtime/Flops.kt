package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.Role
import org.vlmprune.runtime.manifest.TextModel

/**
 * The FLOPs of one call of each stage, a multiply-add counted as two.
 *
 * [vision], of all images, is null if the bundle does not give it; [tail] is the last decoder stage, [head] those before.
 * Not counted are the look-up of embeddings, norms, softmax and the pruner.
 */
class StageFlops(val vision: Long?, val head: Long, val tail: Long) {
    /** Head and tail together. */
    val llm: Long get() = head + tail
}

/** Unpruned over pruned FLOPs: the speedup if every FLOP took the same time and pruning no time. */
class Ceiling(val llmPrefill: Double, val ttft: Double?)

/** Returns the FLOPs of the prefill of a prompt of [promptTokens], those of views on these grids included. */
fun prefillFlops(manifest: Manifest, promptTokens: Int, grids: List<Int>, prune: Boolean): StageFlops {
    val counted = grids.map { manifest.grids[it].visionFlops }
    val vision = if (null in counted) null else counted.sumOf { it ?: 0 }
    return stageFlops(vision, rowsOfDecoders(manifest, promptTokens, grids, prune)) { name, rows -> manifest.decoderFlops(name, rows, rows) }
}

/** Returns the FLOPs of one new token after so many tokens in the cache of each decoder stage. */
fun decodeFlops(manifest: Manifest, pastTokens: Map<String, Int>): StageFlops =
    stageFlops(0, pastTokens) { name, past -> manifest.decoderFlops(name, 1, past + 1) }

/** Returns how many tokens of a prompt with views on these grids each decoder stage sees, in their order. */
fun rowsOfDecoders(manifest: Manifest, promptTokens: Int, grids: List<Int>, prune: Boolean): Map<String, Int> {
    val seen = grids.map { manifest.grids[it] }
    val left = manifest.cuts.indices.map { cut -> seen.sumOf { it.keep[cut] } }
    val whole = seen.sumOf { it.visualTokens }
    var cuts = 0
    val rows = LinkedHashMap<String, Int>()
    for (name in manifest.prefill) {
        val role = manifest.stages.getValue(name).role
        if (role == Role.PRUNE && prune) cuts++
        if (role == Role.DECODER) rows[name] = promptTokens - whole + if (cuts == 0) whole else left[cuts - 1]
    }
    return rows
}

/** Returns the largest speedup that pruning allows: stages before the first cut cost the same either way. */
fun ceiling(unpruned: StageFlops, pruned: StageFlops): Ceiling {
    val llm = unpruned.llm.toDouble() / pruned.llm
    if (unpruned.vision == null || pruned.vision == null) return Ceiling(llm, null)
    return Ceiling(llm, (unpruned.vision + unpruned.llm).toDouble() / (pruned.vision + pruned.llm))
}

private fun stageFlops(vision: Long?, tokens: Map<String, Int>, flops: (String, Int) -> Long): StageFlops {
    val counted = tokens.map { (name, rows) -> flops(name, rows) }
    return StageFlops(vision, counted.dropLast(1).sum(), counted.last())
}

private fun Manifest.decoderFlops(name: String, rows: Int, attended: Int): Long {
    val stage = stages.getValue(name)
    val layers = stage.cache?.layers?.size ?: 0
    val logits = if (stage.output("logits") == null) 0 else 2L * textModel.hiddenSize * textModel.vocabSize
    return layers * textModel.layerFlops(rows, attended) + logits
}

/** Returns the FLOPs of one decoder layer for so many new tokens, each of which sees [attended] tokens. */
internal fun TextModel.layerFlops(rows: Int, attended: Int): Long {
    val queries = attentionHeads.toLong() * headDim
    val keys = kvHeads.toLong() * headDim
    val projections = 2L * hiddenSize * (2 * queries + 2 * keys)
    return rows * (projections + 6L * hiddenSize * intermediateSize + 4L * attended * queries)
}
