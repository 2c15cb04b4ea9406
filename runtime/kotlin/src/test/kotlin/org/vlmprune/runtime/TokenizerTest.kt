package org.vlmprune.runtime

import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import org.vlmprune.runtime.tokenizer.loadTokenizer
import java.nio.file.Files
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

class TokenizerTest {
    @TestFactory
    fun `ids and texts are those of the tokenizers package`(): List<DynamicTest> = names().flatMap { name ->
        val tokenizer = loadTokenizer(GOLDEN.resolve("tokenizers/$name.json"))
        goldenRows("tokenizers/${name}_cases.json").map { case ->
            DynamicTest.dynamicTest("$name: ${case["text"]}") {
                val text = case["text"] as String
                assertEquals(ints(case["ids"]), tokenizer.encode(text, false).toList())
                assertEquals(ints(case["with_special"]), tokenizer.encode(text, true).toList())
                assertEquals(case["decoded"], tokenizer.decode(ints(case["ids"]).toIntArray()))
            }
        }
    }

    @Test
    fun `what is no tokenizer is refused`() {
        val file = Files.createTempFile("tokenizer", ".json")
        for (text in listOf("", "{}", "[]", "{\"model\": {\"type\": \"Unigram\"}}", "{\"model\": 3}")) {
            Files.writeString(file, text)
            assertFailsWith<BundleError> { loadTokenizer(file) }
        }
    }

    private fun names(): List<String> = Files.list(GOLDEN.resolve("tokenizers")).use { paths ->
        paths.map { it.fileName.toString() }.filter { "_cases" !in it && it != "texts.json" }.map { it.removeSuffix(".json") }.sorted().toList()
    }
}
