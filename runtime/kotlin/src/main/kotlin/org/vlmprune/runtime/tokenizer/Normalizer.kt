package org.vlmprune.runtime.tokenizer

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record
import java.text.Normalizer
import java.text.Normalizer.Form

/** Returns what a normalizer does to a text. */
internal fun readNormalizer(field: Field): (String) -> String = field.record { record ->
    when (record["type"].text()) {
        "Sequence" -> record["normalizers"].list(::readNormalizer).let { steps ->
            { text -> steps.fold(text) { seen, step -> step(seen) } }
        }
        "NFC" -> unicode(Form.NFC)
        "NFD" -> unicode(Form.NFD)
        "NFKC" -> unicode(Form.NFKC)
        "NFKD" -> unicode(Form.NFKD)
        "Lowercase" -> { text -> text.lowercase() }
        "Prepend" -> record["prepend"].text().let { prefix -> { text -> if (text.isEmpty()) text else prefix + text } }
        "Replace" -> readReplace(record)
        "Strip" -> readStrip(record)
        "StripAccents" -> { text -> text.filterNot { Character.getType(it) == Character.NON_SPACING_MARK.toInt() } }
        else -> throw record["type"].refused("a normalizer that is supported")
    }
}

private fun unicode(form: Form): (String) -> String = { text -> Normalizer.normalize(text, form) }

private fun readStrip(record: Record): (String) -> String {
    val left = record.optional("strip_left")?.flag() ?: true
    val right = record.optional("strip_right")?.flag() ?: true
    return { text ->
        val started = if (left) text.trimStart() else text
        if (right) started.trimEnd() else started
    }
}

/** Returns a replacement as normalizers and decoders have it: a text or a regular expression, and what replaces it. */
internal fun readReplace(record: Record): (String) -> String {
    val content = record["content"].text()
    return record["pattern"].record { pattern ->
        val plain = pattern.optional("String")?.text()
        val regex = if (plain == null) unicodeRegex(pattern["Regex"]) else null
        return@record { text: String ->
            if (plain != null) text.replace(plain, content) else checkNotNull(regex).replace(text) { content }
        }
    }
}
