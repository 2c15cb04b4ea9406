package org.vlmprune.runtime

import org.vlmprune.runtime.tokenizer.Tokenizer

/**
 * Gives the text of one answer piece by piece, in whole characters; all pieces together are [text].
 *
 * A token's text depends on its neighbours (leading spaces, characters of several tokens), so the tokens since the last
 * whole piece are decoded again together with the tokens of that piece.
 */
class TextStream(private val tokenizer: Tokenizer) {
    private val ids = mutableListOf<Int>()
    private var pieceStart = 0
    private var pieceStop = 0
    private var begun = false

    val tokenIds: List<Int> get() = ids

    val text: String get() = tokenizer.decode(ids.toIntArray()).trimStart(::isPythonSpace)

    /** Adds a token and returns the text that became whole with it, which may be empty. */
    fun push(tokenId: Int): String {
        ids += tokenId
        val piece = pending()
        if (piece.isEmpty() || piece.endsWith('\uFFFD')) return ""
        pieceStart = pieceStop
        pieceStop = ids.size
        return stripped(piece)
    }

    /** Returns the remaining text, broken characters included. */
    fun finish(): String {
        val piece = pending()
        pieceStart = ids.size
        pieceStop = ids.size
        return stripped(piece)
    }

    private fun stripped(piece: String): String {
        val text = if (begun) piece else piece.trimStart(::isPythonSpace)
        begun = begun || text.isNotEmpty()
        return text
    }

    private fun pending(): String {
        val last = tokenizer.decode(ids.subList(pieceStart, pieceStop).toIntArray())
        return tokenizer.decode(ids.subList(pieceStart, ids.size).toIntArray()).drop(last.length)
    }
}

/** Says whether Python, whose texts the bundle's were compared with, calls a character white space. */
internal fun isPythonSpace(letter: Char): Boolean = letter.isWhitespace() || letter == '\u0085'
