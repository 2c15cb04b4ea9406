package org.vlmprune.runtime

import org.pytorch.executorch.DType
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.vlmprune.runtime.manifest.Dtype
import java.io.File
import org.pytorch.executorch.Tensor as ExecutorchTensor

/** Loads programs with ExecuTorch's library for Android; weights are mapped from the file. */
val executorchModules = ProgramLoader { path, threads ->
    checkProcessor(System.getProperty("os.arch").orEmpty(), processorText())
    ExecutorchModule(Module.load(path.toString(), Module.LOAD_MODE_MMAP, threads))
}

/** Raises [BadRequest] for an ARM processor without the atomic instructions that the library is built with. */
internal fun checkProcessor(architecture: String, cpuInfo: String) {
    val features = Regex("^Features\\s*:(.*)$", RegexOption.MULTILINE).find(cpuInfo)?.groupValues?.get(1) ?: return
    if (architecture != "aarch64" || "atomics" in features.split(" ")) return
    throw BadRequest("this processor lacks the atomic instructions that the ExecuTorch library needs; choose an ONNX bundle")
}

private fun processorText(): String = File("/proc/cpuinfo").takeIf { it.canRead() }?.readText().orEmpty()

private class ExecutorchModule(private val module: Module) : ExecutorchProgram {
    override val methods: Set<String> = module.methods.toSet()

    override fun loadMethod(method: String) = module.loadMethod(method)

    override fun execute(method: String, inputs: List<MethodInput>): List<Tensor> {
        val values = inputs.map { EValue.from(it.toExecutorch()) }.toTypedArray()
        return module.execute(method, *values).map { it.toTensor().toTensor() }
    }

    override fun close() = module.close()
}

internal fun MethodInput.toExecutorch(): ExecutorchTensor = when (val given = tensor) {
    is FloatTensor -> {
        require(dtype == Dtype.FLOAT32) { "an input has the type ${dtype.name.lowercase()}; allowed: float32" }
        ExecutorchTensor.fromBlob(given.values, shape)
    }
    is IntegerTensor ->
        if (dtype == Dtype.INT64) ExecutorchTensor.fromBlob(given.values, shape)
        else ExecutorchTensor.fromBlob(IntArray(given.values.size) { given.values[it].toInt() }, shape)
}

internal fun ExecutorchTensor.toTensor(): Tensor {
    val sizes = shape().map { it.toInt() }
    return when (dtype()) {
        DType.FLOAT -> FloatTensor(sizes, dataAsFloatArray)
        DType.INT64 -> IntegerTensor(sizes, dataAsLongArray)
        DType.INT32 -> dataAsIntArray.let { ints -> IntegerTensor(sizes, LongArray(ints.size) { ints[it].toLong() }) }
        else -> throw IllegalStateException("an output has the type ${dtype()}; allowed: float32, int64, int32")
    }
}
