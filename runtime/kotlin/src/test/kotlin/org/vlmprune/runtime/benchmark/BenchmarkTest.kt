package org.vlmprune.runtime.benchmark

import com.networknt.schema.InputFormat
import com.networknt.schema.JsonSchemaFactory
import com.networknt.schema.SpecVersion
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.vlmprune.runtime.BadRequest
import org.vlmprune.runtime.EngineOptions
import org.vlmprune.runtime.GOLDEN
import org.vlmprune.runtime.Request
import org.vlmprune.runtime.manifest.TextModel
import org.vlmprune.runtime.layerFlops
import org.vlmprune.runtime.pictureFile
import java.nio.file.Files
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertTrue

class BenchmarkTest {
    private val images = listOf("first.png", "second.png").map { pictureFile(GOLDEN.resolve("two_pictures/$it")) }

    @Test
    fun `a measurement gives a record as the schema says, which can be read again`() {
        val (events, record) = measured(BenchmarkRequest(images, "why?", repetitions = 2, warmups = 2, tokens = 3))
        val json = record.toJson()
        val schema = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(Files.readString(SCHEMA))
        assertEquals(emptyList(), schema.validate(json, InputFormat.JSON).map { it.message })
        assertEquals(1, schema.validate(json.replace("\"ratios\"", "\"ratio\""), InputFormat.JSON).count { "required" in it.type })
        assertEquals(record, readRecord(json))
        val started = events.filterIsInstance<BenchmarkEvent.RunStarted>()
        assertEquals((1..8).toList(), started.map { it.nth })
        assertEquals(listOf(false, true, true, false), started.drop(4).map { it.prune })
        assertEquals(started.drop(4).map { it.round to it.prune }, record.results[0].runs.map { it.round to it.pruned })
    }

    @Test
    fun `a record says what was measured`() {
        val (_, record) = measured(BenchmarkRequest(images, "why?", repetitions = 1, warmups = 1, tokens = 3))
        val result = record.results.single()
        assertEquals(54, result.promptTokens)
        assertEquals(listOf(2, 15, 6), result.run { listOf(images, bundle.visualTokens, bundle.keep) })
        assertEquals("onnxruntime" to "1.29.0", result.engine.name to result.engine.version)
        assertEquals(listOf(2, 2), result.runs.map { it.decodeMs.size })
        assertEquals(setOf("preprocess", "vision", "embed", "prune", "tail"), result.pruned.stagesMs.keys)
        assertEquals(setOf("preprocess", "vision", "embed", "tail"), result.unpruned.stagesMs.keys)
        assertTrue(assertNotNull(result.unpruned.kvCacheFilledBytes) > assertNotNull(result.pruned.kvCacheFilledBytes))
        assertTrue(assertNotNull(result.ceilings).llmPrefill > 1)
        assertNotNull(result.pruned.followUpMs)
        assertEquals(images.map { it.sha256 }, record.settings.images.map { it.sha256 })
        assertEquals(record.device.cores, Runtime.getRuntime().availableProcessors())
    }

    @Test
    fun `the pair waits for the monitor, and a stopped measurement leaves the runner usable`() = runBlocking {
        val waited = mutableListOf<Pair<Int, Boolean>>()
        val monitor = object : DeviceMonitor by DesktopMonitor {
            override suspend fun beforePair(round: Int, warmUp: Boolean) {
                waited += round to warmUp
            }
        }
        openTimed(GOLDEN.resolve("bundle_two_pictures"), EngineOptions(threads = 1)).first.use { runner ->
            val request = BenchmarkRequest(images, "why?", repetitions = 2, warmups = 2, tokens = 1)
            measure(runner, request, monitor).toList()
            assertEquals(listOf(0 to true, 1 to true, 0 to false, 1 to false), waited)
            measure(runner, request, monitor).first { it is BenchmarkEvent.RunEnded }
            assertEquals(54, runner.answer(Request(images, "why?", maxTokens = 1)).promptTokens)
        }
    }

    @Test
    fun `what does not fit is refused before it runs`() {
        assertFailsWith<BadRequest> { BenchmarkRequest(images, "why?", repetitions = 0) }
        val error = assertFailsWith<BadRequest> { measured(BenchmarkRequest(images, "why?", tokens = 9999)) }
        assertTrue("the context has" in error.message!!, error.message)
    }

    @Test
    fun `percentiles and FLOPs are those of Python`() {
        assertEquals(Spread(3.0, 8.2, 1.0), spread(listOf(4.0, 1.0, 2.0, 3.0, 11.0)))
        assertEquals(PairedRatio(3.0, 2.2, 3.8), pairedRatio(listOf(10.0, 40.0, 90.0), listOf(5.0, 10.0, 30.0)))
        val text = TextModel(2, 8, 16, attentionHeads = 2, kvHeads = 1, headDim = 4, vocabSize = 100)
        assertEquals(2L * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16), text.layerFlops(1, 0))
        assertEquals(4L * 3 * 5 * 8, text.layerFlops(3, 5) - text.layerFlops(3, 0))
    }

    private fun measured(request: BenchmarkRequest): Pair<List<BenchmarkEvent>, BenchmarkRecord> = runBlocking {
        val (runner, load) = openTimed(GOLDEN.resolve("bundle_two_pictures"), EngineOptions(threads = 1))
        val events = runner.use { measure(it, request, load = load).toList() }
        events to (events.last() as BenchmarkEvent.Finished).record
    }

    private companion object {
        val SCHEMA = GOLDEN.resolve("../../runtime/vlmprune_runtime/benchmark/schema.json").normalize()
    }
}
