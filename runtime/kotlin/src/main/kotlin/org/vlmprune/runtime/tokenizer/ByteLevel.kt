package org.vlmprune.runtime.tokenizer

/** GPT-2's letters for bytes: every byte is a letter that can be seen. */
internal object ByteLevel {
    private val letters = CharArray(256)
    private val bytes = mutableMapOf<Char, Byte>()

    init {
        var next = 256
        for (byte in 0..255) {
            val visible = byte in 33..126 || byte in 161..172 || byte in 174..255
            letters[byte] = (if (visible) byte else next++).toChar()
            bytes[letters[byte]] = byte.toByte()
        }
    }

    /** Returns a text as letters for its UTF-8 bytes. */
    fun encode(text: String): String = buildString { for (byte in text.encodeToByteArray()) append(letters[byte.toInt() and 255]) }

    /** Returns the text of tokens; one that has other letters stands for itself, and bytes that are no text become U+FFFD. */
    fun decode(tokens: List<String>): String = tokens.flatMap(::bytesOf).toByteArray().decodeToString()

    private fun bytesOf(token: String): List<Byte> {
        val known = token.map { bytes[it] }
        return if (null in known) token.encodeToByteArray().toList() else known.filterNotNull()
    }
}
