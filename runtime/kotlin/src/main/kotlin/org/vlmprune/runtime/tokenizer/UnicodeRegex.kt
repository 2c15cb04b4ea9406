package org.vlmprune.runtime.tokenizer

import org.vlmprune.runtime.Field
import java.util.regex.PatternSyntaxException

private const val SPACES = "\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"

/** The pattern that GPT-2's byte-level tokenizers split a text by. */
internal val GPT2: Regex =
    unicodePattern("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+")

/** Returns a tokenizer's regular expression for Java. Raises `BundleError` if it is none. */
internal fun unicodeRegex(field: Field): Regex = try {
    unicodePattern(field.text())
} catch (error: PatternSyntaxException) {
    throw field.refused("a regular expression")
}

/**
 * Oniguruma's classes know all of Unicode, Java's `\s` and `\d` only ASCII, and Android knows no flag for that; so the
 * classes are spelled out. Likewise its case-insensitive groups fold all letters.
 */
private fun unicodePattern(pattern: String): Regex = Regex(spelledOut(pattern).replace("(?i:", "(?iu:"))

private fun spelledOut(pattern: String): String = buildString {
    var inClass = 0
    var at = 0
    while (at < pattern.length) {
        val letter = pattern[at]
        if (letter == '\\' && at + 1 < pattern.length) {
            append(classOf(pattern[at + 1], inClass > 0) ?: pattern.substring(at, at + 2))
            at += 2
            continue
        }
        if (letter == '[') inClass++
        if (letter == ']' && inClass > 0) inClass--
        append(letter)
        at++
    }
}

/** Returns a class that Java has for ASCII only, spelled out; null for any other escape. */
private fun classOf(letter: Char, inClass: Boolean): String? = when (letter) {
    's' -> if (inClass) SPACES else "[$SPACES]"
    'S' -> "[^$SPACES]"
    'd' -> "\\p{Nd}"
    'D' -> "\\P{Nd}"
    'w' -> if (inClass) WORD else "[$WORD]"
    'W' -> "[^$WORD]"
    else -> null
}

private const val WORD = "\\p{L}\\p{M}\\p{Nd}\\p{Pc}"
