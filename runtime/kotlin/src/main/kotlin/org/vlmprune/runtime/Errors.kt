package org.vlmprune.runtime

/** The version of this library. */
const val VERSION = "0.1.0"

/** Base of all errors, each of which is one line: what was wrong, what was got, what is allowed. */
sealed class VlmPruneError(message: String, cause: Throwable? = null) : Exception(message.shorten(MAX_MESSAGE_CHARS), cause)

/** A request cannot be met: a setting is out of range, a picture is broken, or a prompt is too long. */
class BadRequest(message: String) : VlmPruneError(message)

/** A bundle that is not what its manifest says; [file] and [field] name the place. */
class BundleError(val file: String, reason: String, val field: String? = null) :
    VlmPruneError(
        "bundle: ${file.printable().shorten()}${field?.let { ": ${it.shorten(MAX_CAUSE_CHARS)}" } ?: ""}: " +
            reason.shorten(MAX_CHOICES_CHARS),
    )

/** An engine refused to load or to run a stage. */
class EngineError(stage: String, cause: Throwable) : VlmPruneError("stage ${shortRepr(stage)} failed: ${firstLine(cause)}", cause)

private const val MAX_VALUE_CHARS = 60
private const val MAX_CHOICES_CHARS = 400
private const val MAX_CAUSE_CHARS = 300
private const val MAX_MESSAGE_CHARS = 1000

/** Returns the first non-empty line of a cause's message, or the name of its class. */
fun firstLine(cause: Throwable): String {
    val text = cause.message.orEmpty().lineSequence().map { it.trim() }.firstOrNull { it.isNotEmpty() }
    return (text ?: cause.javaClass.simpleName).printable().shorten(MAX_CAUSE_CHARS)
}

/** Returns a value as a message shows it: in quotes where it is a text, without control characters, and cut. */
fun shortRepr(value: Any?): String = when (value) {
    null -> "null"
    is String -> "'" + value.take(MAX_CHOICES_CHARS).printable() + "'"
    is Map<*, *> -> "an object"
    is List<*> -> "a list of ${value.size}"
    else -> value.toString().take(MAX_CHOICES_CHARS)
}.shorten()

/** Returns values with commas between them, as many as fit; "none" if there are none. */
fun commaList(values: Collection<String>): String {
    val parts = values.map { it.printable().shorten() }
    val fitting = parts.indices.takeWhile { parts.take(it + 1).sumOf { part -> part.length + 2 } <= MAX_CHOICES_CHARS }
    val text = parts.take(maxOf(fitting.size, 1)).joinToString(", ")
    return when {
        parts.isEmpty() -> "none"
        fitting.size in 1 until parts.size -> "$text, ... (${parts.size - fitting.size} more)"
        else -> text
    }
}

/** Returns the text itself if it has at most [chars] characters, else its two ends. */
fun String.shorten(chars: Int = MAX_VALUE_CHARS): String {
    if (length <= chars) return this
    val end = (chars - 3) / 3
    return take(chars - 3 - end) + "..." + takeLast(end)
}

/** Returns the text without characters that could steer a terminal or break a line. */
fun String.printable(): String = buildString {
    for (letter in this@printable) append(if (letter.isISOControl() || letter in FORMATTING) '?' else letter)
}

private val FORMATTING = setOf('\u2028', '\u2029', '\u202a', '\u202b', '\u202c', '\u202d', '\u202e')
