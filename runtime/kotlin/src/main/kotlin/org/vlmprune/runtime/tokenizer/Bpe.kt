package org.vlmprune.runtime.tokenizer

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record
import java.util.PriorityQueue

/** Byte-pair encoding: a piece of text is cut into letters, and pairs of neighbours are merged, best rank first. */
internal class Bpe(
    private val vocabulary: Map<String, Int>,
    private val merges: Map<Long, Merge>,
    private val options: BpeOptions,
) {
    private val tokens: Map<Int, String> = vocabulary.entries.associate { (token, id) -> id to token }

    fun id(token: String): Int? = vocabulary[token]

    fun token(id: Int): String? = tokens[id]

    /** Adds the ids of a piece to [ids]. */
    fun encode(piece: String, ids: MutableList<Int>) {
        val whole = if (options.ignoreMerges) vocabulary[piece] else null
        if (whole != null) ids += whole else ids += merged(symbols(piece))
    }

    /** Returns the ids of the letters of a piece; one that is not in the vocabulary is its bytes, or unknown. */
    private fun symbols(piece: String): IntArray {
        val ids = mutableListOf<Int>()
        var lastUnknown = false
        var at = 0
        while (at < piece.length) {
            val stop = piece.offsetByCodePoints(at, 1)
            val letter = decorated(piece.substring(at, stop), isFirst = at == 0, isLast = stop == piece.length)
            val known = vocabulary[letter]?.let { listOf(it) } ?: bytes(piece.substring(at, stop))
            if (known != null) ids += known
            else if (options.unknownId != null && !(lastUnknown && options.fuseUnknown)) ids += options.unknownId
            lastUnknown = known == null
            at = stop
        }
        return ids.toIntArray()
    }

    private fun decorated(letter: String, isFirst: Boolean, isLast: Boolean): String =
        (if (isFirst) "" else options.continuingPrefix) + letter + (if (isLast) options.endSuffix else "")

    private fun bytes(letter: String): List<Int>? {
        if (!options.byteFallback) return null
        val ids = letter.encodeToByteArray().map { vocabulary["<0x%02X>".format(it)] }
        return if (null in ids) null else ids.filterNotNull()
    }

    /** Merges neighbours until no pair of them has a merge; ties go to the pair further left. */
    private fun merged(symbols: IntArray): List<Int> {
        val word = Word(symbols)
        val queue = PriorityQueue<Candidate>(compareBy({ it.merge.rank }, { it.at }))
        for (at in 0 until symbols.size - 1) candidate(word, at)?.let(queue::add)
        while (true) {
            val best = queue.poll() ?: break
            if (candidate(word, best.at)?.merge !== best.merge) continue
            word.merge(best.at, best.merge.id)
            candidate(word, best.at)?.let(queue::add)
            word.before(best.at)?.let { candidate(word, it) }?.let(queue::add)
        }
        return word.ids()
    }

    private fun candidate(word: Word, at: Int): Candidate? {
        val (left, right) = word.pair(at) ?: return null
        return merges[pairKey(left, right)]?.let { Candidate(at, it) }
    }
}

internal class Merge(val rank: Int, val id: Int)

internal class BpeOptions(
    val byteFallback: Boolean,
    val fuseUnknown: Boolean,
    val ignoreMerges: Boolean,
    val unknownId: Int?,
    val continuingPrefix: String,
    val endSuffix: String,
)

private class Candidate(val at: Int, val merge: Merge)

/** Symbols in a row, some of which have been merged into their left neighbour. */
private class Word(private val symbols: IntArray) {
    private val next = IntArray(symbols.size) { it + 1 }
    private val previous = IntArray(symbols.size) { it - 1 }
    private val alive = BooleanArray(symbols.size) { true }

    fun pair(at: Int): Pair<Int, Int>? =
        if (!alive[at] || next[at] >= symbols.size) null else symbols[at] to symbols[next[at]]

    fun before(at: Int): Int? = previous[at].takeIf { it >= 0 }

    fun merge(at: Int, id: Int) {
        val right = next[at]
        symbols[at] = id
        alive[right] = false
        next[at] = next[right]
        if (next[at] < symbols.size) previous[next[at]] = at
    }

    fun ids(): List<Int> = symbols.indices.filter { alive[it] }.map { symbols[it] }
}

private fun pairKey(left: Int, right: Int): Long = (left.toLong() shl 32) or right.toLong()

internal fun readBpe(field: Field): Bpe = field.record { record ->
    val type = record.optional("type")
    if (type != null && type.text() != "BPE") throw type.refused("BPE")
    if (record.optional("dropout") != null) throw record["dropout"].refused("null")
    val vocabulary = record["vocab"].table { _, id -> id.int(0..Int.MAX_VALUE) }
    val options = readOptions(record, vocabulary)
    Bpe(vocabulary, readMerges(record["merges"], vocabulary, options.continuingPrefix), options)
}

private fun readOptions(record: Record, vocabulary: Map<String, Int>): BpeOptions {
    fun flag(name: String) = record.optional(name)?.flag() ?: false
    return BpeOptions(
        byteFallback = flag("byte_fallback"),
        fuseUnknown = flag("fuse_unk"),
        ignoreMerges = flag("ignore_merges"),
        unknownId = record.optional("unk_token")?.let { vocabulary[it.text()] },
        continuingPrefix = record.optional("continuing_subword_prefix")?.text().orEmpty(),
        endSuffix = record.optional("end_of_word_suffix")?.text().orEmpty(),
    )
}

/** Reads merges, each "left right" or ["left", "right"], the best first. */
private fun readMerges(field: Field, vocabulary: Map<String, Int>, prefix: String): Map<Long, Merge> {
    val merges = HashMap<Long, Merge>()
    var rank = 0
    field.list { item ->
        val (left, right) = readPair(item)
        val ids = listOf(left, right, left + right.removePrefix(prefix)).map { vocabulary[it] ?: throw item.refused("tokens of the vocabulary") }
        merges[pairKey(ids[0], ids[1])] = Merge(rank++, ids[2])
    }
    return merges
}

private fun readPair(item: Field): Pair<String, String> {
    val parts = if (item.value is String) item.text().split(" ") else item.list { it.text() }
    return if (parts.size == 2) parts[0] to parts[1] else throw item.refused("a pair of tokens")
}
