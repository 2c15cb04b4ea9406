package org.vlmprune.demo

import com.fasterxml.jackson.core.JsonFactory
import com.fasterxml.jackson.core.JsonParser
import com.fasterxml.jackson.core.JsonToken
import java.io.File

/** Returns the value of a JSON file as maps, lists, texts and numbers. */
fun readJson(file: File): Any? = readJson(file.readText())

fun readJson(text: String): Any? = JsonFactory().createParser(text).use { it.nextToken(); it.value() }

private fun JsonParser.value(): Any? = when (currentToken()) {
    JsonToken.START_OBJECT -> buildMap { while (nextToken() != JsonToken.END_OBJECT) put(currentName(), nextToken().let { value() }) }
    JsonToken.START_ARRAY -> buildList { while (nextToken() != JsonToken.END_ARRAY) add(value()) }
    JsonToken.VALUE_STRING -> text
    JsonToken.VALUE_NUMBER_INT -> longValue
    JsonToken.VALUE_NUMBER_FLOAT -> doubleValue
    JsonToken.VALUE_TRUE -> true
    JsonToken.VALUE_FALSE -> false
    else -> null
}

/** An answer as Python gave it; [chosen] are the kept places of the first picture in the order of choice. */
class GoldenAnswer(val prompt: String, val prune: Boolean, val text: String, val chosen: List<Int>)

@Suppress("UNCHECKED_CAST")
fun goldenAnswers(file: String = "answers.json"): List<GoldenAnswer> = (readJson(File(GOLDEN, file)) as List<Map<String, Any>>).map { answer ->
    val pruned = (answer["pruned"] as List<Map<String, List<Long>>>).firstOrNull()
    val chosen = pruned?.let { it.getValue("kept").zip(it.getValue("rank")).sortedBy { (_, rank) -> rank }.map { (place, _) -> place.toInt() } }
    GoldenAnswer(answer["prompt"] as String, answer["prune"] as Boolean, answer["text"] as String, chosen.orEmpty())
}

/** Returns questions and answers of Python's first conversation about both pictures in a mode, as the screen sends them. */
@Suppress("UNCHECKED_CAST")
fun goldenConversation(prune: Boolean): List<Pair<String, String>> {
    val talks = readJson(File(GOLDEN, "two_pictures/conversations.json")) as List<Map<String, Any>>
    val turns = talks.first { it["prune"] == prune }.getValue("turns") as List<Map<String, Any>>
    return turns.take(2).map { it.getValue("prompt") as String to it.getValue("text") as String }
}
