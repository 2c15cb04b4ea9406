package org.vlmprune.runtime

/**
 * A value of a JSON document and the place where it stands, so that an error names file and field.
 *
 * With [lenient] true, fields that nobody asks for are ignored, as in a manifest of a newer minor version.
 */
class Field(val value: Any?, private val file: String, private val path: List<String>, private val lenient: Boolean) {
    /** Returns the error that this value is not what it should be. */
    fun refused(expected: String): BundleError {
        val got = if (value is Map<*, *>) "" else ", got ${shortRepr(value)}"
        return BundleError(file, "should be $expected$got", name)
    }

    /** Returns the error of a rule that the whole document breaks. */
    fun broken(reason: String): BundleError = BundleError(file, reason, name)

    fun text(): String = value as? String ?: throw refused("a text")

    fun text(pattern: Regex, expected: String): String =
        text().takeIf { it.length <= MAX_NAME_CHARS && pattern.matches(it) } ?: throw refused(expected)

    fun flag(): Boolean = value as? Boolean ?: throw refused("true or false")

    fun integer(range: LongRange = POSITIVE): Long =
        (value as? Long)?.takeIf { it in range } ?: throw refused("a whole number of ${range.first} or more")

    fun int(range: IntRange = 1..Int.MAX_VALUE): Int = integer(range.first.toLong()..range.last.toLong()).toInt()

    fun number(accepts: (Double) -> Boolean = { true }): Double =
        (value as? Number)?.toDouble()?.takeIf { it.isFinite() && accepts(it) } ?: throw refused("a number in its range")

    fun <T> choice(choices: Map<String, T>): T {
        val name = text()
        return choices[name] ?: throw refused("one of ${commaList(choices.keys)}")
    }

    fun <T> list(read: (Field) -> T): List<T> {
        val items = value as? List<*> ?: throw refused("a list")
        return items.mapIndexed { index, item -> read(child(item, index.toString())) }
    }

    fun <T> table(read: (String, Field) -> T): Map<String, T> {
        val items = value as? Map<*, *> ?: throw refused("an object")
        return items.entries.associate { (key, item) -> key as String to read(key, child(item, key)) }
    }

    /** Reads an object; a field that [read] does not ask for is refused. */
    fun <T> record(read: (Record) -> T): T {
        val items = value as? Map<*, *> ?: throw refused("an object")
        val record = Record(this, items)
        val result = read(record)
        if (!lenient) record.unknown()?.let { throw BundleError(file, "is not a known field", child(null, it).name) }
        return result
    }

    /** Returns the value at [key] below this one. */
    fun child(value: Any?, key: String): Field = Field(value, file, path + key, lenient)

    /** Returns the error that [key] is missing below this value. */
    fun missing(key: String): BundleError = BundleError(file, "is missing", child(null, key).name)

    private val name: String? get() = path.joinToString(".") { it.printable().shorten() }.ifEmpty { null }

    private companion object {
        val POSITIVE = 1L..Long.MAX_VALUE
        const val MAX_NAME_CHARS = 512
    }
}

/** The fields of an object, of which it remembers those that were asked for. */
class Record(private val field: Field, private val items: Map<*, *>) {
    private val asked = mutableSetOf<String>()

    /** Returns a field that must be there. */
    operator fun get(name: String): Field {
        asked += name
        if (name !in items) throw field.missing(name)
        return field.child(items[name], name)
    }

    /** Returns a field, null where it is not there or null itself. */
    fun optional(name: String): Field? {
        asked += name
        return items[name]?.let { field.child(it, name) }
    }

    /** Returns the first field that was not asked for. */
    fun unknown(): String? = items.keys.firstOrNull { it !in asked } as String?
}
