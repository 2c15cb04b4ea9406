package org.vlmprune.runtime.manifest

import org.vlmprune.runtime.Field

/** How the next token is chosen; the schema says in which order these change the logits. */
data class GenerationSpec(
    val stopTokenIds: List<Int>,
    val maxNewTokens: Int?,
    val maxLength: Int?,
    val repetitionPenalty: Double,
    val noRepeatNgramSize: Int,
    val badWordsIds: List<List<Int>>,
    val minLength: Int,
    val minNewTokens: Int,
    val forcedStopTokenIds: List<Int>,
    val suppressTokenIds: List<Int>,
    val beginSuppressTokenIds: List<Int>,
    val doSample: Boolean,
    val temperature: Double,
    val topK: Int,
    val topP: Double,
    val minP: Double,
) {
    /** Returns how many tokens an answer has at most, never less than one. */
    fun limit(promptTokens: Int, otherwise: Int): Int =
        maxNewTokens ?: maxLength?.let { maxOf(1, it - promptTokens) } ?: otherwise
}

internal fun readGeneration(field: Field): GenerationSpec = field.record { record ->
    fun count(name: String) = record.optional(name)?.int(0..Int.MAX_VALUE) ?: 0
    fun ids(name: String) = record.optional(name)?.tokenIds().orEmpty()
    GenerationSpec(
        stopTokenIds = record["stop_token_ids"].tokenIds(),
        maxNewTokens = record.optional("max_new_tokens")?.int(),
        maxLength = record.optional("max_length")?.int(),
        repetitionPenalty = record.optional("repetition_penalty")?.number { it > 0 } ?: 1.0,
        noRepeatNgramSize = count("no_repeat_ngram_size"),
        badWordsIds = record.optional("bad_words_ids")?.list { word -> word.tokenIds().ifEmpty { throw word.refused("ids") } }
            .orEmpty(),
        minLength = count("min_length"),
        minNewTokens = count("min_new_tokens"),
        forcedStopTokenIds = ids("forced_stop_token_ids"),
        suppressTokenIds = ids("suppress_token_ids"),
        beginSuppressTokenIds = ids("begin_suppress_token_ids"),
        doSample = record.optional("do_sample")?.flag() ?: false,
        temperature = record.optional("temperature")?.number { it > 0 } ?: 1.0,
        topK = count("top_k"),
        topP = record.optional("top_p")?.number { it > 0 && it <= 1 } ?: 1.0,
        minP = record.optional("min_p")?.number { it in 0.0..1.0 } ?: 0.0,
    )
}

private fun Field.tokenIds(): List<Int> = list { it.int(0..Int.MAX_VALUE) }
