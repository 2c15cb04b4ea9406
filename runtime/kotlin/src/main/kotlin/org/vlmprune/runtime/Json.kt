package org.vlmprune.runtime

import com.fasterxml.jackson.core.JsonFactory
import com.fasterxml.jackson.core.JsonGenerator
import com.fasterxml.jackson.core.JsonParser
import com.fasterxml.jackson.core.JsonToken
import com.fasterxml.jackson.core.StreamReadConstraints
import com.fasterxml.jackson.core.StreamReadFeature
import java.io.IOException
import java.io.Reader
import java.io.StringWriter

private const val MAX_DEPTH = 100

/** Reads strict JSON: a field that stands twice, deep nesting and numbers that are no JSON numbers are refused. */
private val factory: JsonFactory = JsonFactory.builder()
    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
    .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(MAX_DEPTH).build())
    .build()

/**
 * Returns a JSON text as maps, lists, strings, [Long], [Double], booleans and null; whole numbers beyond [Long] are
 * doubles. Raises [BundleError] for [file] if it is not JSON.
 */
fun parseJson(source: Reader, file: String): Any? = try {
    factory.createParser(source).use { parser ->
        parser.nextToken()
        val value = parser.value(file)
        if (parser.nextToken() != null) throw BundleError(file, "is not JSON: more text behind its end")
        value
    }
} catch (error: IOException) {
    throw BundleError(file, "is not JSON: ${firstLine(error)}")
}

/** Returns maps, lists, texts, numbers, booleans and null as a JSON text, indented. */
fun toJson(value: Any?): String = StringWriter().also { text ->
    factory.createGenerator(text).useDefaultPrettyPrinter().use { it.put(value) }
}.toString()

private fun JsonGenerator.put(value: Any?) {
    when (value) {
        null -> writeNull()
        is Map<*, *> -> {
            writeStartObject()
            for ((name, inner) in value) writeFieldName(name as String).also { put(inner) }
            writeEndObject()
        }
        is List<*> -> {
            writeStartArray()
            value.forEach { put(it) }
            writeEndArray()
        }
        is String -> writeString(value)
        is Boolean -> writeBoolean(value)
        is Int -> writeNumber(value)
        is Long -> writeNumber(value)
        is Double -> writeNumber(value)
        else -> throw IllegalArgumentException("${value.javaClass} has no place in JSON")
    }
}

private fun JsonParser.value(file: String): Any? = when (currentToken()) {
    JsonToken.START_OBJECT -> buildMap {
        while (nextToken() == JsonToken.FIELD_NAME) {
            val name = currentName()
            nextToken()
            put(name, value(file))
        }
    }
    JsonToken.START_ARRAY -> buildList { while (nextToken() != JsonToken.END_ARRAY) add(value(file)) }
    JsonToken.VALUE_STRING -> text
    JsonToken.VALUE_NUMBER_INT -> if (numberType == JsonParser.NumberType.BIG_INTEGER) doubleValue else longValue
    JsonToken.VALUE_NUMBER_FLOAT -> doubleValue
    JsonToken.VALUE_TRUE -> true
    JsonToken.VALUE_FALSE -> false
    JsonToken.VALUE_NULL -> null
    else -> throw BundleError(file, "is not JSON: it is empty")
}
