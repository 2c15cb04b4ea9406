package org.vlmprune.runtime.tokenizer

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record

/** The special tokens that a tokenizer puts around a text. */
internal class PostProcessor(private val before: List<Int>, private val after: List<Int>) {
    fun around(ids: List<Int>): List<Int> = before + ids + after

    fun then(outer: PostProcessor) = PostProcessor(outer.before + before, after + outer.after)
}

internal fun readPostProcessor(field: Field): PostProcessor = field.record { record ->
    when (record["type"].text()) {
        "Sequence" -> record["processors"].list(::readPostProcessor).fold(NOTHING, PostProcessor::then)
        "ByteLevel" -> NOTHING
        "TemplateProcessing" -> readTemplate(record)
        "BertProcessing", "RobertaProcessing" -> PostProcessor(listOf(readNumbered(record["cls"])), listOf(readNumbered(record["sep"])))
        else -> throw record["type"].refused("a post-processor that is supported")
    }
}

private val NOTHING = PostProcessor(emptyList(), emptyList())

private fun readNumbered(field: Field): Int = (field.value as? List<*>)?.getOrNull(1).let { it as? Long }?.toInt()
    ?: throw field.refused("a token and its id")

private fun readTemplate(record: Record): PostProcessor {
    val ids = record["special_tokens"].table { _, token -> token.record { it["ids"].list { id -> id.int(0..Int.MAX_VALUE) } } }
    val parts = record["single"].list { part ->
        part.record { it.optional("SpecialToken")?.record { token -> token["id"].text() } }
    }
    val text = parts.indexOf(null)
    if (text < 0) throw record["single"].refused("a place for the text")
    fun ids(names: List<String?>) = names.filterNotNull().flatMap { ids[it] ?: throw record["special_tokens"].missing(it) }
    return PostProcessor(ids(parts.take(text)), ids(parts.drop(text + 1)))
}
