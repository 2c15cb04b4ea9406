package org.vlmprune.runtime.tokenizer

import org.vlmprune.runtime.Field

/** A part of a text: an added token, or what stands between two of them, normalized. */
sealed interface TextPart {
    data class Token(val id: Int) : TextPart
    data class Plain(val text: String, val isFirst: Boolean) : TextPart
}

internal class AddedToken(
    val id: Int,
    val content: String,
    val special: Boolean,
    val normalized: Boolean,
    val leftStrip: Boolean,
    val rightStrip: Boolean,
    val singleWord: Boolean,
)

/** The tokens that a text is split at before anything else is done with it. */
internal class AddedTokens(tokens: List<AddedToken>, normalize: (String) -> String) {
    private val byId = tokens.associateBy { it.id }
    private val byContent = tokens.associateBy { it.content }
    private val raw = Matcher(tokens.filterNot { it.normalized }.associateBy { it.content })
    private val normalized = Matcher(tokens.filter { it.normalized }.associateBy { normalize(it.content) })

    fun id(content: String): Int? = byContent[content]?.id

    fun token(id: Int): String? = byId[id]?.content

    fun isSpecial(id: Int): Boolean = byId[id]?.special == true

    /** Splits a text at the tokens that are matched as they are, then, normalized, at those that are normalized, too. */
    fun split(text: String, normalize: (String) -> String): List<TextPart> =
        raw.split(text, isFirst = true).flatMap { part ->
            if (part is TextPart.Plain) normalized.split(normalize(part.text), part.isFirst) else listOf(part)
        }
}

/** Finds the leftmost of some contents in a text, the longest where several begin at one place. */
private class Matcher(private val tokens: Map<String, AddedToken>) {
    private val byFirst = tokens.keys.filter { it.isNotEmpty() }.groupBy { it[0] }
        .mapValues { (_, contents) -> contents.sortedByDescending { it.length } }

    fun split(text: String, isFirst: Boolean): List<TextPart> {
        val parts = mutableListOf<TextPart>()
        var plain = 0
        var at = 0
        while (at < text.length) {
            val content = contentAt(text, at)
            if (content == null) {
                at++
                continue
            }
            val token = tokens.getValue(content)
            val start = if (token.leftStrip) startOfSpace(text, at, plain) else at
            val stop = if (token.rightStrip) endOfSpace(text, at + content.length) else at + content.length
            parts.addPlain(text, plain, start, isFirst)
            parts += TextPart.Token(token.id)
            plain = stop
            at = stop
        }
        parts.addPlain(text, plain, text.length, isFirst)
        return parts
    }

    private fun contentAt(text: String, at: Int): String? =
        byFirst[text[at]]?.firstOrNull { text.startsWith(it, at) && standsAlone(text, at, it) }

    private fun standsAlone(text: String, at: Int, content: String): Boolean {
        if (!tokens.getValue(content).singleWord) return true
        val before = text.getOrNull(at - 1)
        val after = text.getOrNull(at + content.length)
        return listOfNotNull(before, after).none { it.isLetterOrDigit() || it == '_' }
    }
}

private fun MutableList<TextPart>.addPlain(text: String, start: Int, stop: Int, isFirst: Boolean) {
    if (stop > start) add(TextPart.Plain(text.substring(start, stop), isFirst && start == 0))
}

private fun startOfSpace(text: String, at: Int, least: Int): Int {
    var start = at
    while (start > least && text[start - 1].isWhitespace()) start--
    return start
}

private fun endOfSpace(text: String, at: Int): Int {
    var stop = at
    while (stop < text.length && text[stop].isWhitespace()) stop++
    return stop
}

internal fun readAddedTokens(field: Field?, normalize: (String) -> String): AddedTokens {
    val tokens = field?.list { item ->
        item.record { record ->
            fun flag(name: String) = record.optional(name)?.flag() ?: false
            AddedToken(
                id = record["id"].int(0..Int.MAX_VALUE),
                content = record["content"].text(),
                special = flag("special"),
                normalized = flag("normalized"),
                leftStrip = flag("lstrip"),
                rightStrip = flag("rstrip"),
                singleWord = flag("single_word"),
            )
        }
    }
    return AddedTokens(tokens.orEmpty(), normalize)
}
