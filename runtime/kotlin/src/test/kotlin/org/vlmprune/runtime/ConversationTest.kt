package org.vlmprune.runtime

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.last
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.yield
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.util.concurrent.CountDownLatch
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertTrue

class ConversationTest {
    @TestFactory
    fun `conversations are those of Python`(): List<DynamicTest> = SETS.flatMap { set ->
        goldenRows("${set.folder}/${set.file}").mapIndexed { nth, case ->
            DynamicTest.dynamicTest("${set.folder}/${set.file} $nth, pruned: ${case["prune"]}") {
                openRunner(set.opened(), EngineOptions(threads = 1)).use { runner -> runBlocking { compare(runner, set, case) } }
            }
        }
    }

    private suspend fun compare(runner: Runner, set: Told, case: Map<String, Any?>) {
        for ((index, turn) in (case["turns"] as List<*>).withIndex()) {
            val expected = turn as Map<*, *>
            val images = (expected["images"] as List<*>).map { pictureFile(GOLDEN.resolve("${set.folder}/$it")) }
            val prompt = expected["prompt"] as String
            val maxTokens = (case["max_tokens"] as Long).toInt()
            val first = Request(images, prompt, case["prune"] as Boolean, maxTokens, GREEDY)
            assertSame(expected, result(if (index == 0) runner.stream(first) else runner.followUp(prompt, images)))
        }
    }

    /** Conversations about the pictures of a folder, with a bundle or with a variant of it, whose files lie in a folder there. */
    private class Told(val bundle: String, val folder: String, val variant: String? = null) {
        val file = if (variant == null) "conversations.json" else "${variant}_conversations.json"

        fun opened(): Path {
            if (variant == null) return GOLDEN.resolve(bundle)
            val copy = copyFolder(GOLDEN.resolve(bundle), Files.createTempDirectory("bundle"))
            Files.list(GOLDEN.resolve("$folder/$variant")).use { files ->
                files.forEach { Files.copy(it, copy.resolve(it.fileName), REPLACE_EXISTING) }
            }
            return copy
        }
    }

    private fun assertSame(expected: Map<*, *>, got: RunResult) {
        assertEquals(expected["text"], got.text)
        assertEquals(ints(expected["token_ids"]), got.tokenIds)
        assertEquals(expected["reason"], got.reason.name.lowercase())
        assertEquals(expected["prompt_tokens"], got.promptTokens.toLong())
        assertEquals(expected["prefilled_tokens"], got.prefilledTokens.toLong())
        val pruned = (expected["pruned"] as List<*>).map { it as Map<*, *> }
        assertEquals(pruned.map { Triple((it["image"] as Long).toInt(), ints(it["kept"]), ints(it["rank"])) }, got.pruned.map { Triple(it.image, it.kept, it.rank) })
        assertEquals(pruned.map { (it["view"] as Long? ?: 0L).toInt() }, got.pruned.map { it.view })
        val seen = got.seen.map { view -> listOf(view.image, view.height, view.width, view.row, view.column).map { it?.toLong() } }
        expected["seen"]?.let { assertEquals(it, seen) }
    }

    @Test
    fun `an answer that was given up half-way counts as far as it went`() = runBlocking {
        opened().use { runner ->
            val whole = Request(listOf(image("first.png"), image("second.png")), "why?", maxTokens = 8, sampling = GREEDY)
            runner.stream(whole).first { it is RunEvent.Pruned } // the conversation has begun by then
            assertTrue(runner.canFollowUp)
            val result = result(runner.followUp("And then?"))
            assertTrue(result.promptTokens > result.prefilledTokens)
            assertEquals(emptyList(), result.pruned)
        }
    }

    @Test
    fun `a follow-up needs a question before it and a place for its pictures`() = runBlocking {
        opened().use { runner ->
            assertFalse(runner.canFollowUp)
            assertFailsWith<BadRequest> { runner.followUp("And then?").toList() }
            val long = "why? ".repeat(200)
            result(runner.stream(Request(listOf(image("first.png")), "why?", maxTokens = 1)))
            val error = assertFailsWith<BadRequest> { runner.followUp(long).toList() }
            assertTrue("start it anew" in error.message!!, error.message)
        }
    }

    @Test
    fun `another question ends the answer before it, and a closed runner refuses`() = runBlocking {
        val runner = opened()
        val request = Request(listOf(image("first.png")), "why?", maxTokens = 64, sampling = GREEDY)
        val (reading, go) = CompletableDeferred<Unit>() to CountDownLatch(1)
        val held = object : ImageSource by request.images[0] {
            override fun load() = request.images[0].load().also { reading.complete(Unit); go.await() }
        }
        val first = async { runCatching { runner.stream(request.copy(images = listOf(held))).toList() } }
        reading.await()
        val firstRecord = runner.current
        val second = async { runner.answer(request.copy(maxTokens = 2)) }
        while (runner.current === firstRecord) yield()
        go.countDown()
        assertTrue("another answer" in assertIs<BadRequest>(first.await().exceptionOrNull()).message!!)
        assertEquals(2, second.await().tokenIds.size)
        runner.close()
        assertTrue("closed" in assertFailsWith<BadRequest> { runner.answer(request) }.message!!)
        runner.close()
    }

    @Test
    fun `warming up reports both modes and leaves no conversation`() = runBlocking {
        val seen = mutableListOf<LoadProgress>()
        openRunner(GOLDEN.resolve("bundle_two_pictures"), EngineOptions(threads = 1), progress = { seen += it }).use { runner ->
            runner.warmUp { seen += it }
            assertFalse(runner.canFollowUp)
            assertEquals(runner.bundle.manifest.stages.keys.toList(), seen.filterIsInstance<LoadProgress.Loading>().map { it.stage })
            assertEquals(listOf(true, false), seen.filterIsInstance<LoadProgress.WarmingUp>().map { it.prune })
            assertEquals(1.0, seen.filterIsInstance<LoadProgress.Verifying>().last().fraction)
        }
    }

    private fun image(name: String) = pictureFile(GOLDEN.resolve("two_pictures/$name"))

    private fun opened() = openRunner(GOLDEN.resolve("bundle_two_pictures"), EngineOptions(threads = 1))

    private suspend fun result(events: Flow<RunEvent>) = (events.last() as RunEvent.Finished).result

    private companion object {
        val SETS = listOf(
            Told("bundle_two_pictures", "two_pictures"),
            Told("bundle_two_pictures", "two_pictures", variant = "counted"),
            Told("bundle_tiles", "tiles"),
            Told("bundle_tiles", "tiles", variant = "together"),
            Told("bundle_grids", "grids"),
            Told("bundle_grids", "grids", variant = "smaller"),
        )
        val GREEDY = Sampling(temperature = 0.0)
    }
}
