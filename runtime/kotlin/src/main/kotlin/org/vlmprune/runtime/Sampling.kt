package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.GenerationSpec
import kotlin.math.exp
import kotlin.random.Random

/** What a request asks for instead of the bundle's own settings; null leaves a setting. Temperature 0 is greedy. */
data class Sampling(
    val temperature: Double? = null,
    val topP: Double? = null,
    val topK: Int? = null,
    val minP: Double? = null,
    val repetitionPenalty: Double? = null,
    val seed: Int = 0,
) {
    init {
        check("temperature", temperature, "0 or more") { it.isFinite() && it >= 0 }
        check("top_p", topP, "above 0 up to 1") { it > 0 && it <= 1 }
        check("seed", seed.toDouble(), "0 or more") { it >= 0 }
        check("top_k", topK?.toDouble(), "0 or more") { it >= 0 }
        check("min_p", minP, "0 to 1") { it in 0.0..1.0 }
        check("repetition_penalty", repetitionPenalty, "above 0") { it.isFinite() && it > 0 }
    }

    /** Returns the bundle's settings, with the requested ones in place of them. */
    fun applied(settings: GenerationSpec): GenerationSpec = settings.copy(
        doSample = temperature?.let { it > 0 } ?: settings.doSample,
        temperature = temperature?.takeIf { it > 0 } ?: settings.temperature,
        topP = topP ?: settings.topP,
        topK = topK ?: settings.topK,
        minP = minP ?: settings.minP,
        repetitionPenalty = repetitionPenalty ?: settings.repetitionPenalty,
    )

    private fun check(name: String, value: Double?, allowed: String, holds: (Double) -> Boolean) {
        if (value != null && !holds(value)) throw BadRequest("$name: got $value, allowed: $allowed")
    }
}

/** Returns the likeliest token, the first among equals, whatever a bundle's settings say. */
fun greedy(logits: FloatArray): Int {
    checkNumbers(logits)
    return likeliest(logits)
}

private fun likeliest(scores: FloatArray): Int {
    var best = 0
    for (id in scores.indices) if (scores[id] > scores[best]) best = id
    return best
}

private fun checkNumbers(logits: FloatArray) {
    for (logit in logits) if (logit.isNaN()) throw EngineError("tail", ArithmeticException("the logits are not numbers"))
}

/** Chooses the tokens of one answer; [sequence] is the prompt and grows with every choice. */
class TokenChooser(val settings: GenerationSpec, sequence: List<Int>, val limit: Int, seed: Int) {
    private val sequence = sequence.toMutableList()
    private val random = Random(seed)
    private var answerTokens = 0

    /** Returns the id of the next token. Raises [EngineError] for logits that are not numbers. */
    fun choose(logits: FloatArray): Int {
        checkNumbers(logits)
        val scores = penalised(logits, AnswerProgress(sequence, answerTokens, limit), settings)
        val token = if (settings.doSample) drawn(scores) else likeliest(scores)
        sequence += token
        answerTokens++
        return token
    }

    private fun drawn(scores: FloatArray): Int {
        val candidates = samplingCandidates(scores, settings)
        var left = random.nextDouble()
        for ((id, probability) in candidates) {
            left -= probability
            if (left < 0) return id
        }
        return candidates.last().first
    }
}

/** Returns the tokens that may be drawn with their probabilities, likeliest first. */
internal fun samplingCandidates(scores: FloatArray, settings: GenerationSpec): List<Pair<Int, Double>> {
    val scaled = DoubleArray(scores.size) { scores[it] / settings.temperature }
    var ids = scaled.indices.filter { scaled[it].isFinite() }.sortedByDescending { scaled[it] }
    if (ids.isEmpty()) throw EngineError("tail", ArithmeticException("the generation settings forbid every token"))
    if (settings.topK > 0) {
        val least = scaled[ids[minOf(settings.topK, ids.size) - 1]]
        ids = ids.filter { scaled[it] >= least }
    }
    if (settings.topP < 1) ids = ids.take(likeliest(softmax(ids, scaled), settings.topP))
    val shares = softmax(ids, scaled)
    ids = ids.filterIndexed { nth, _ -> shares[nth] >= settings.minP * shares[0] }
    return ids.zip(softmax(ids, scaled).asIterable())
}

/** Returns how many of the likeliest have at least the share [topP] together. */
private fun likeliest(shares: DoubleArray, topP: Double): Int {
    var sum = 0.0
    return shares.indexOfFirst { share -> (sum + share).also { sum = it } >= topP }.let { if (it < 0) shares.size else it + 1 }
}

private fun softmax(ids: List<Int>, scaled: DoubleArray): DoubleArray {
    val powers = DoubleArray(ids.size) { exp(scaled[ids[it]] - scaled[ids[0]]) }
    val total = powers.sum()
    return DoubleArray(ids.size) { powers[it] / total }
}
