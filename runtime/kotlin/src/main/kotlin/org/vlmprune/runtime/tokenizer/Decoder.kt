package org.vlmprune.runtime.tokenizer

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record

/** Returns how a decoder turns tokens into parts of a text. */
internal fun readDecoder(field: Field): (List<String>) -> List<String> = field.record { record ->
    when (record["type"].text()) {
        "Sequence" -> record["decoders"].list(::readDecoder).let { steps ->
            { tokens -> steps.fold(tokens) { seen, step -> step(seen) } }
        }
        "ByteLevel" -> { tokens -> listOf(ByteLevel.decode(tokens)) }
        "ByteFallback" -> ::fallenBack
        "Fuse" -> { tokens -> listOf(tokens.joinToString("")) }
        "Replace" -> readReplace(record).let { replace -> { tokens -> tokens.map(replace) } }
        "Strip" -> readStrip(record)
        "Metaspace" -> readMetaspace(record)
        else -> throw record["type"].refused("a decoder that is supported")
    }
}

private val BYTE = Regex("<0x([0-9A-Fa-f]{2})>")

/** Joins tokens that stand for bytes to text; bytes that are no UTF-8 become U+FFFD, one for each. */
private fun fallenBack(tokens: List<String>): List<String> {
    val out = mutableListOf<String>()
    val bytes = mutableListOf<Byte>()
    fun flush() {
        if (bytes.isEmpty()) return
        out += runCatching { bytes.toByteArray().decodeToString(throwOnInvalidSequence = true) }
            .getOrElse { "\uFFFD".repeat(bytes.size) }
        bytes.clear()
    }
    for (token in tokens) {
        val byte = BYTE.matchEntire(token)?.groupValues?.get(1)?.toInt(16)?.toByte()
        if (byte != null) {
            bytes += byte
        } else {
            flush()
            out += token
        }
    }
    flush()
    return out
}

/** Takes up to so many of a letter from the start and the end of every token. */
private fun readStrip(record: Record): (List<String>) -> List<String> {
    val content = record["content"].text()
    val start = record["start"].int(0..Int.MAX_VALUE)
    val stop = record["stop"].int(0..Int.MAX_VALUE)
    return { tokens ->
        tokens.map { token ->
            var text = token
            repeat(start) { text = text.removePrefix(content) }
            repeat(stop) { text = text.removeSuffix(content) }
            text
        }
    }
}

private fun readMetaspace(record: Record): (List<String>) -> List<String> {
    val mark = record.optional("replacement")?.text() ?: "\u2581"
    val prepends = (record.optional("prepend_scheme")?.text() ?: "always") != "never"
    return { tokens ->
        tokens.mapIndexed { nth, token ->
            (if (nth == 0 && prepends) token.removePrefix(mark) else token).replace(mark, " ")
        }
    }
}
