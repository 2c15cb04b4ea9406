package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.MANIFEST
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import java.security.MessageDigest

private const val PROGRAM = "model.pte"

/** Opens the golden bundle as one for ExecuTorch: every stage is a method of one program, which holds the caches. */
@Suppress("UNCHECKED_CAST")
fun openExecutorchGolden(loader: ProgramLoader, program: ByteArray = programHead()): Runner {
    val folder = copyFolder(GOLDEN.resolve("bundle"), Files.createTempDirectory("executorch"))
    val fields = (parseJson(Files.newBufferedReader(folder.resolve(MANIFEST)), MANIFEST) as Map<String, Any?>).toMutableMap()
    Files.write(folder.resolve(PROGRAM), program)
    val stages = fields["stages"] as Map<String, Map<String, Any?>>
    val entry = mapOf("size_bytes" to program.size.toLong(), "sha256" to hexDigits(MessageDigest.getInstance("SHA-256").digest(program)))
    fields["target"] = "executorch"
    fields["stages"] = stages.mapValues { (name, stage) -> asMethod(name, stage, fields["context_tokens"]) }
    fields["files"] = mapOf(PROGRAM to entry, "tokenizer.json" to (fields["files"] as Map<String, Any?>)["tokenizer.json"])
    Files.writeString(folder.resolve(MANIFEST), toJson(fields))
    return openRunner(folder, EngineOptions(programs = loader))
}

@Suppress("UNCHECKED_CAST")
private fun asMethod(name: String, stage: Map<String, Any?>, context: Any?): Map<String, Any?> {
    val graph = mapOf("file" to PROGRAM, "entry" to name)
    val cache = (stage["cache"] as Map<String, Any?>?)?.let { it - "inputs" - "outputs" + mapOf("owner" to "graph", "capacity_tokens" to context) }
    return stage - "data" + mapOf("graphs" to listOf(graph), "cache" to cache)
}

/** The beginning of a .pte file that states its own length. */
fun programHead(statedBytes: Long = 40, identifier: String = "ET12"): ByteArray = ByteBuffer.allocate(40)
    .order(ByteOrder.LITTLE_ENDIAN).putInt(0).put(identifier.toByteArray()).put("eh00".toByteArray()).putInt(32)
    .putLong(statedBytes).putLong(0).putLong(0).array()

/** Stands for ExecuTorch: its methods are the stages of the golden bundle on ONNX Runtime. */
class OnnxProgram : ExecutorchProgram {
    private val bundle = openBundle(GOLDEN.resolve("bundle"))
    private val engine = OnnxEngine(bundle)
    var isClosed = false
    override val methods = bundle.manifest.stages.keys

    override fun loadMethod(method: String) {
        check(method in methods)
    }

    override fun execute(method: String, inputs: List<MethodInput>): List<Tensor> {
        val stage = bundle.manifest.stages.getValue(method)
        val named = stage.inputs.zip(inputs).associate { (spec, given) ->
            check(given.dtype == spec.tensor.dtype && given.shape.size == spec.tensor.graphShape.size)
            spec.tensor.name to given.tensor
        }
        val outputs = engine.run(method, named)
        return stage.outputs.map { outputs.getValue(it.name).withLeadingOne() }
    }

    private fun Tensor.withLeadingOne(): Tensor = when (this) {
        is FloatTensor -> FloatTensor(listOf(1) + shape, values)
        is IntegerTensor -> IntegerTensor(listOf(1) + shape, values)
    }

    override fun close() {
        isClosed = true
        engine.close()
    }
}
