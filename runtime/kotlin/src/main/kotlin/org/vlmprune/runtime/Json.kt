package org.vlmprune.runtime

import com.fasterxml.jackson.core.JsonFactory
import com.fasterxml.jackson.core.JsonParser
import com.fasterxml.jackson.core.JsonToken
import com.fasterxml.jackson.core.StreamReadConstraints
import com.fasterxml.jackson.core.StreamReadFeature
import java.io.IOException
import java.io.Reader

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
