package org.vlmprune.runtime

import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import org.vlmprune.runtime.tokenizer.loadTokenizer
import kotlin.test.assertEquals

class GenerateTest {
    @TestFactory
    fun `prompts have the ids of Python`(): List<DynamicTest> = SETS.flatMap { set ->
        val bundle = openBundle(GOLDEN.resolve(set.bundle))
        val tokenizer = loadTokenizer(bundle.path(bundle.manifest.tokenizer))
        goldenRows(set.file("prompts.json")).map { case ->
            DynamicTest.dynamicTest("${set.bundle}: ${case["prompt"]}") {
                val spans = case["spans"] as List<*>
                val places = List(spans.size) { PicturePlace() }
                val manifest = bundle.manifest
                val encoded = encodePrompt(tokenizer, manifest.prompt, manifest.viewTokens, case["prompt"] as String, places)
                assertEquals(ints(case["token_ids"]), encoded.tokenIds.toList())
                assertEquals(spans.map { ints(it) }, encoded.spans.map { listOf(it.start, it.stop) })
                case["positions"]?.let { positions ->
                    val placed = placePrompt(bundle.manifest, encoded)
                    assertEquals(positions, placed.positions.map { it.toList() })
                    assertEquals(case["next_position"], placed.nextPosition)
                }
            }
        }
    }

    @TestFactory
    fun `answers are those of Python, pruned and unpruned`(): List<DynamicTest> = SETS.flatMap { set ->
        val bundle = openBundle(GOLDEN.resolve(set.bundle))
        val runner = Runner(bundle, OnnxEngine(bundle, EngineOptions(threads = 1)), loadTokenizer(bundle.path(bundle.manifest.tokenizer)))
        goldenRows(set.file("answers.json")).map { case ->
            DynamicTest.dynamicTest("${set.bundle}: ${case["prompt"]}, pruned: ${case["prune"]}") {
                val events = runBlocking { runner.stream(request(set, case)).toList() }
                val result = (events.last() as RunEvent.Finished).result
                assertEquals(ints(case["token_ids"]), result.tokenIds)
                assertEquals(case["text"], result.text)
                assertEquals(case["reason"], result.reason.name.lowercase())
                val pruned = (case["pruned"] as List<*>).map { it as Map<*, *> }
                assertEquals(pruned.map { ints(it["kept"]) to ints(it["rank"]) }, result.pruned.map { it.kept to it.rank })
                assertEquals(result.text, events.filterIsInstance<RunEvent.TextPiece>().joinToString("") { it.text })
            }
        }
    }

    private fun request(set: Files, case: Map<String, Any?>): Request {
        val names = (case["images"] as List<*>?) ?: listOf("image.png")
        val pictures = names.map { pictureFile(GOLDEN.resolve(set.file(it as String))) }
        val maxTokens = (case["max_tokens"] as Long).toInt()
        return Request(pictures, case["prompt"] as String, case["prune"] as Boolean, maxTokens, Sampling(temperature = 0.0))
    }

    private class Files(val bundle: String, private val folder: String) {
        fun file(name: String) = folder + name
    }

    private companion object {
        val SETS = listOf(Files("bundle", ""), Files("bundle_two_pictures", "two_pictures/"))
    }
}
