package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Dtype
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

/** What can be tried of the adapter to ExecuTorch's real classes where its library cannot be loaded. */
class ExecutorchModuleTest {
    @Test
    fun `tensors go to ExecuTorch's and back`() {
        val floats = MethodInput(FloatTensor(listOf(2), floatArrayOf(1f, 2f)), longArrayOf(1, 2), Dtype.FLOAT32).toExecutorch()
        assertContentEquals(longArrayOf(1, 2), floats.shape())
        assertContentEquals(floatArrayOf(1f, 2f), (floats.toTensor() as FloatTensor).values)
        for (dtype in listOf(Dtype.INT64, Dtype.INT32)) {
            val integers = MethodInput(IntegerTensor(listOf(3), longArrayOf(1, -2, 3)), longArrayOf(3), dtype).toExecutorch()
            assertEquals(dtype.name, integers.dtype().name)
            assertContentEquals(longArrayOf(1, -2, 3), (integers.toTensor() as IntegerTensor).values)
        }
        assertFailsWith<IllegalArgumentException> { MethodInput(FloatTensor(listOf(1), FloatArray(1)), longArrayOf(1), Dtype.FLOAT16).toExecutorch() }
    }

    @Test
    fun `a missing library is an error of one line`() {
        val error = assertFailsWith<EngineError> { openExecutorchGolden(executorchModules) }
        assertEquals(1, error.message!!.lines().size)
        assert("the ExecuTorch library cannot be loaded" in error.message!!) { error.message!! }
    }

    @Test
    fun `a processor without atomic instructions is refused before the library is loaded`() {
        checkProcessor("aarch64", "Features\t: fp asimd atomics\n")
        checkProcessor("x86_64", "flags : sse\n")
        assertFailsWith<BadRequest> { checkProcessor("aarch64", "processor\t: 0\nFeatures\t: fp asimd\n") }
    }
}
