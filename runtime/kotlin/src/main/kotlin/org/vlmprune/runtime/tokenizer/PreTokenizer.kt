package org.vlmprune.runtime.tokenizer

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record

/** Returns how a pre-tokenizer splits pieces of text. */
internal fun readPreTokenizer(field: Field): (List<Piece>) -> List<Piece> = field.record { record ->
    when (record["type"].text()) {
        "Sequence" -> record["pretokenizers"].list(::readPreTokenizer).let { steps ->
            { pieces -> steps.fold(pieces) { seen, step -> step(seen) } }
        }
        "ByteLevel" -> readByteLevel(record)
        "Split" -> readSplit(record)
        "Digits" -> splitting(Regex("\\p{N}"), digitsBehaviour(record), invert = false)
        "Metaspace" -> readMetaspace(record)
        "Whitespace" -> splitting(WORDS, "Removed", invert = true)
        "WhitespaceSplit" -> splitting(Regex("[$WHITE]+"), "Removed", invert = false)
        "Punctuation" -> splitting(PUNCTUATION, record.optional("behavior")?.text() ?: "Isolated", invert = false)
        else -> throw record["type"].refused("a pre-tokenizer that is supported")
    }
}

private const val WHITE = "\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
private val WORDS = Regex("[\\p{L}\\p{M}\\p{Nd}\\p{Pc}]+|[^\\p{L}\\p{M}\\p{Nd}\\p{Pc}$WHITE]+")
private val PUNCTUATION = Regex("[\\p{P}$+<=>^`|~]")

private fun digitsBehaviour(record: Record): String =
    if (record.optional("individual_digits")?.flag() == true) "Isolated" else "Contiguous"

private fun readByteLevel(record: Record): (List<Piece>) -> List<Piece> {
    val addSpace = record.optional("add_prefix_space")?.flag() ?: true
    val split = if (record.optional("use_regex")?.flag() ?: true) splitting(GPT2, "Isolated", invert = false) else { it -> it }
    return { pieces ->
        val spaced = pieces.map { if (addSpace && !it.text.startsWith(' ')) it.copy(text = " " + it.text) else it }
        split(spaced).map { it.copy(text = ByteLevel.encode(it.text)) }
    }
}

private fun readSplit(record: Record): (List<Piece>) -> List<Piece> {
    val regex = record["pattern"].record { pattern ->
        pattern.optional("String")?.let { Regex(Regex.escape(it.text())) } ?: unicodeRegex(pattern["Regex"])
    }
    return splitting(regex, record["behavior"].text(), record.optional("invert")?.flag() ?: false)
}

private fun readMetaspace(record: Record): (List<Piece>) -> List<Piece> {
    val mark = record.optional("replacement")?.text() ?: "\u2581"
    val scheme = record.optional("prepend_scheme")?.text() ?: "always"
    val split = record.optional("split")?.flag() ?: true
    val splitter = splitting(Regex(Regex.escape(mark)), "MergedWithNext", invert = false)
    return { pieces ->
        val marked = pieces.map { piece ->
            val text = piece.text.replace(" ", mark)
            val prepend = scheme == "always" || (scheme == "first" && piece.isFirst)
            piece.copy(text = if (prepend && !text.startsWith(mark)) mark + text else text)
        }
        if (split) splitter(marked) else marked
    }
}

private class Part(val text: String, val isMatch: Boolean)

/** Returns a splitter that does with the matches of a pattern what the behaviour says; inverted, with what is between. */
private fun splitting(pattern: Regex, behaviour: String, invert: Boolean): (List<Piece>) -> List<Piece> = { pieces ->
    pieces.flatMap { piece ->
        val parts = parts(piece.text, pattern, invert)
        joined(parts, behaviour).filter { it.isNotEmpty() }.mapIndexed { nth, text -> Piece(text, piece.isFirst && nth == 0) }
    }
}

private fun parts(text: String, pattern: Regex, invert: Boolean): List<Part> = buildList {
    var at = 0
    for (match in pattern.findAll(text)) {
        if (match.value.isEmpty()) continue
        if (match.range.first > at) add(Part(text.substring(at, match.range.first), invert))
        add(Part(match.value, !invert))
        at = match.range.last + 1
    }
    if (at < text.length) add(Part(text.substring(at), invert))
}

private fun joined(parts: List<Part>, behaviour: String): List<String> = when (behaviour) {
    "Removed" -> parts.filterNot { it.isMatch }.map { it.text }
    "MergedWithPrevious" -> mergedWithPrevious(parts)
    "MergedWithNext" -> mergedWithPrevious(parts.reversed().map { Part(it.text.reversed(), it.isMatch) }).map { it.reversed() }.reversed()
    "Contiguous" -> contiguous(parts)
    else -> parts.map { it.text }
}

private fun mergedWithPrevious(parts: List<Part>): List<String> {
    val out = mutableListOf<String>()
    var previousIsMatch = false
    for (part in parts) {
        if (part.isMatch && !previousIsMatch && out.isNotEmpty()) out[out.lastIndex] += part.text else out += part.text
        previousIsMatch = part.isMatch
    }
    return out
}

private fun contiguous(parts: List<Part>): List<String> {
    val out = mutableListOf<String>()
    var previous: Boolean? = null
    for (part in parts) {
        if (part.isMatch == previous) out[out.lastIndex] += part.text else out += part.text
        previous = part.isMatch
    }
    return out
}
