package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.GenerationSpec

/** Where an answer stands: the sequence so far, how many of its tokens are the answer's, and the limit. */
class AnswerProgress(val sequence: List<Int>, val answerTokens: Int, val limit: Int)

/** Returns the logits after every penalty and ban of the settings, in the order that the manifest's schema lists. */
fun penalised(logits: FloatArray, progress: AnswerProgress, settings: GenerationSpec): FloatArray {
    val scores = logits.copyOf()
    val sequence = progress.sequence
    penaliseRepetition(scores, sequence, settings.repetitionPenalty.toFloat())
    suppress(scores, repeatedNgrams(sequence, settings.noRepeatNgramSize))
    suppress(scores, badWordTokens(sequence, settings.badWordsIds, settings.stopTokenIds))
    if (sequence.size < settings.minLength || progress.answerTokens < settings.minNewTokens) suppress(scores, settings.stopTokenIds)
    if (settings.forcedStopTokenIds.isNotEmpty() && progress.answerTokens == progress.limit - 1) {
        scores.fill(Float.NEGATIVE_INFINITY)
        settings.forcedStopTokenIds.filter { it < scores.size }.forEach { scores[it] = 0f }
    }
    suppress(scores, settings.suppressTokenIds)
    if (progress.answerTokens == 0) suppress(scores, settings.beginSuppressTokenIds)
    return scores
}

/** Tokens of the sequence become less likely. */
private fun penaliseRepetition(scores: FloatArray, sequence: List<Int>, penalty: Float) {
    if (penalty == 1f) return
    for (id in sequence.toSet()) {
        if (id < scores.size) scores[id] = if (scores[id] < 0) scores[id] * penalty else scores[id] / penalty
    }
}

/** Returns the tokens that would complete [size] tokens which the sequence has already. */
internal fun repeatedNgrams(sequence: List<Int>, size: Int): List<Int> {
    if (size == 0 || sequence.size < size) return emptyList()
    val last = sequence.takeLast(size - 1)
    return (0..sequence.size - size).filter { sequence.subList(it, it + size - 1) == last }.map { sequence[it + size - 1] }
}

/** Returns the last tokens of the words whose others the sequence ends with; a stop token alone is no bad word. */
internal fun badWordTokens(sequence: List<Int>, words: List<List<Int>>, stops: List<Int>): List<Int> =
    words.filter { word ->
        val before = word.dropLast(1)
        if (before.isEmpty()) word.last() !in stops else sequence.takeLast(before.size) == before
    }.map { it.last() }

private fun suppress(scores: FloatArray, tokenIds: List<Int>) {
    for (id in tokenIds) if (id < scores.size) scores[id] = Float.NEGATIVE_INFINITY
}
