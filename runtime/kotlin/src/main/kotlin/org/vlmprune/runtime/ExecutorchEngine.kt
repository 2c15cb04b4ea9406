package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Dtype
import org.vlmprune.runtime.manifest.Graph
import org.vlmprune.runtime.manifest.InputSpec
import org.vlmprune.runtime.manifest.Stage
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import java.nio.file.Path

/** A tensor as a method takes it, in the graph's shape and type. */
class MethodInput(val tensor: Tensor, val shape: LongArray, val dtype: Dtype)

/** A loaded .pte file; its methods keep the KV caches in themselves. */
interface ExecutorchProgram : AutoCloseable {
    val methods: Set<String>

    /** Loads a method, so that its first call does not pay for it. */
    fun loadMethod(method: String)

    /** Returns the outputs of a method in its order; integers as [IntegerTensor], all else as [FloatTensor]. */
    fun execute(method: String, inputs: List<MethodInput>): List<Tensor>
}

/** Loads a .pte file; [threads] 0 leaves their number to the runtime. */
fun interface ProgramLoader {
    fun load(path: Path, threads: Int): ExecutorchProgram
}

/**
 * Runs the stages of an ExecuTorch bundle: a method per stage and grid, with the KV caches inside the methods.
 *
 * Inputs are checked before each call, because the runtime would end the process for some of them: for a cache that
 * overflows, or for a token id outside the embedding table.
 */
class ExecutorchEngine(
    private val bundle: Bundle,
    options: EngineOptions,
    private val loader: ProgramLoader,
    loading: (String) -> Unit = {},
) : Engine {
    private val manifest = bundle.manifest
    private val contextTokens = options.contextOf(bundle)
    private val threads = options.threads ?: 0
    private val programs = mutableMapOf<String, ExecutorchProgram>()
    override val name = "executorch"
    override val version: String? = null // the library for Android does not say it

    init {
        checkSignatures(manifest)
        try {
            for ((stage, spec) in manifest.stages) {
                loading(stage)
                spec.graphs.forEach { loadMethod(stage, it) }
            }
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    override fun run(stage: String, inputs: Map<String, Tensor>, grid: Int): Map<String, Tensor> {
        val spec = manifest.stages[stage]
            ?: throw BadRequest("unknown stage ${shortRepr(stage)}; choose one of: ${commaList(manifest.stages.keys)}")
        checkCapacity(stage, spec, inputs, contextTokens)
        val graph = spec.graphs.firstOrNull { it.grid == null } ?: spec.graphs.first { it.grid == grid }
        val declared = manifest.stageOnGrid(stage, graph.grid ?: 0)
        val given = declared.inputs.map { methodInput(stage, inputs.getValue(it.tensor.name), it) }
        val outputs = guarded(stage) { programs.getValue(graph.file).execute(checkNotNull(graph.entry), given) }
        return named(stage, declared, outputs)
    }

    override fun close() = programs.values.forEach { it.close() }

    private fun loadMethod(stage: String, graph: Graph) {
        val program = programs.getOrPut(graph.file) {
            val path = bundle.path(graph.file)
            checkProgram(path)
            guarded(stage) { loader.load(path, threads) }
        }
        if (graph.entry !in program.methods) {
            throw BundleError(graph.file, "has no method ${shortRepr(graph.entry)}", "stages.$stage")
        }
        guarded(stage) { program.loadMethod(graph.entry!!) }
    }

    private fun methodInput(stage: String, tensor: Tensor, input: InputSpec): MethodInput {
        if (input.source.stage == "prompt") checkTokenIds(stage, input.tensor.name, tensor as IntegerTensor)
        val spec = input.tensor
        val leading = LongArray(spec.graphShape.size - spec.shape.size) { 1 }
        return MethodInput(tensor, leading + tensor.shape.map { it.toLong() }, spec.dtype)
    }

    private fun checkTokenIds(stage: String, name: String, ids: IntegerTensor) {
        val vocabulary = manifest.textModel.vocabSize
        val wrong = ids.values.firstOrNull { it < 0 || it >= vocabulary } ?: return
        throw EngineError(stage, IllegalArgumentException("$name: got $wrong, allowed: 0 to ${vocabulary - 1}"))
    }

    private fun named(stage: String, declared: Stage, outputs: List<Tensor>): Map<String, Tensor> {
        if (outputs.size != declared.outputs.size) {
            val reason = "the method gives ${outputs.size} tensors, the manifest says ${declared.outputs.size}"
            throw EngineError(stage, IllegalStateException(reason))
        }
        return declared.outputs.zip(outputs).associate { (spec, tensor) -> spec.name to tensor.withoutLeading(spec.shape.size) }
    }
}

private fun Tensor.withoutLeading(axes: Int): Tensor = when (this) {
    is FloatTensor -> FloatTensor(shape.takeLast(axes), values)
    is IntegerTensor -> IntegerTensor(shape.takeLast(axes), values)
}

/** Does [work] of the runtime, whose errors and whose missing library become an [EngineError]. */
private fun <T> guarded(stage: String, work: () -> T): T = try {
    work()
} catch (error: VlmPruneError) {
    throw error
} catch (error: RuntimeException) {
    throw EngineError(stage, error)
} catch (error: LinkageError) {
    throw EngineError(stage, IllegalStateException("the ExecuTorch library cannot be loaded: ${firstLine(error)}", error))
}

private const val IDENTIFIER = "ET12" // the flatbuffer schema that executorch 1.x reads
private const val HEAD_BYTES = 40

/** Raises [BundleError] unless the file has the header of a .pte of this version and the length that it states. */
private fun checkProgram(path: Path) {
    val file = path.fileName.toString()
    val head = ByteArray(HEAD_BYTES)
    val read = Files.newInputStream(path).use { stream -> stream.read(head) }
    if (read < HEAD_BYTES) throw BundleError(file, "is truncated: $read bytes are no .pte")
    val identifier = String(head, 4, 4, Charsets.ISO_8859_1)
    if (identifier != IDENTIFIER) {
        throw BundleError(file, "is not a .pte of this version: got ${shortRepr(identifier)}, expected '$IDENTIFIER'")
    }
    if (String(head, 8, 4, Charsets.ISO_8859_1) != "eh00") throw BundleError(file, "has no extended header")
    val numbers = ByteBuffer.wrap(head).order(ByteOrder.LITTLE_ENDIAN)
    val expected = maxOf(numbers.getLong(16), numbers.getLong(24) + numbers.getLong(32))
    if (Files.size(path) < expected) throw BundleError(file, "is truncated: got ${Files.size(path)} bytes, expected $expected")
}
