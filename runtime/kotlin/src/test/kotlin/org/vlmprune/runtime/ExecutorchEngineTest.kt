package org.vlmprune.runtime

import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class ExecutorchEngineTest {
    @TestFactory
    fun `answers through the seam are those of Python`(): List<DynamicTest> {
        val runner = openExecutorchGolden({ _, _ -> OnnxProgram() })
        return goldenRows("answers.json").map { case ->
            DynamicTest.dynamicTest("${case["prompt"]}, pruned: ${case["prune"]}") {
                val image = pictureFile(GOLDEN.resolve("image.png"))
                val maxTokens = (case["max_tokens"] as Long).toInt()
                val sampling = Sampling(temperature = 0.0)
                val request = Request(listOf(image), case["prompt"] as String, case["prune"] as Boolean, maxTokens, sampling)
                val result = runBlocking { runner.answer(request) }
                assertEquals(ints(case["token_ids"]), result.tokenIds)
                val pruned = (case["pruned"] as List<*>).map { ints((it as Map<*, *>)["kept"]) }
                assertEquals(pruned, result.pruned.map { it.kept })
            }
        }
    }

    @Test
    fun `a file that is no program is refused before the library sees it`() {
        val loader = ProgramLoader { _, _ -> error("was loaded") }
        for (program in listOf(ByteArray(3), programHead(identifier = "ET11"), programHead(statedBytes = 4096))) {
            assertEquals("model.pte", assertFailsWith<BundleError> { openExecutorchGolden(loader, program) }.file)
        }
    }

    @Test
    fun `errors of the runtime have one line, and close what was loaded`() {
        val program = OnnxProgram()
        val broken = object : ExecutorchProgram by program {
            override fun loadMethod(method: String) = throw RuntimeException("cannot\nload")
        }
        assertEquals("stage 'embed' failed: cannot", assertFailsWith<EngineError> { openExecutorchGolden({ _, _ -> broken }) }.message)
        assertTrue(program.isClosed)
        val unlinked = ProgramLoader { _, _ -> throw UnsatisfiedLinkError("no executorch in java.library.path") }
        assertTrue("cannot be loaded: no executorch" in assertFailsWith<EngineError> { openExecutorchGolden(unlinked) }.message!!)
    }

    @Test
    fun `a method that is not there is refused`() {
        val program = OnnxProgram()
        val without = object : ExecutorchProgram by program {
            override val methods = program.methods - "prune"
        }
        assertEquals("stages.prune", assertFailsWith<BundleError> { openExecutorchGolden({ _, _ -> without }) }.field)
    }
}
