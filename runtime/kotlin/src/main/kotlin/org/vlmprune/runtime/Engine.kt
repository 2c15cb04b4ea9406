package org.vlmprune.runtime

/** Numbers of one shape, row by row. Integers of every width are held as 64 bits, floats of every width as 32. */
sealed interface Tensor {
    val shape: List<Int>
}

class FloatTensor(override val shape: List<Int>, val values: FloatArray) : Tensor {
    /** Values in one row, that is in one index of the first dimension. */
    val rowSize: Int get() = shape.drop(1).fold(1, Int::times)

    /** Returns the rows at some indices. */
    fun rows(indices: IntArray): FloatTensor {
        val out = FloatTensor(listOf(indices.size) + shape.drop(1), FloatArray(indices.size * rowSize))
        indices.forEachIndexed { nth, row -> copyRow(row, out, nth) }
        return out
    }

    /** Copies a row into a row of another tensor, whose rows have the same size. */
    fun copyRow(row: Int, to: FloatTensor, toRow: Int) {
        val size = rowSize
        values.copyInto(to.values, toRow * size, row * size, (row + 1) * size)
    }

    fun copy() = FloatTensor(shape, values.copyOf())
}

class IntegerTensor(override val shape: List<Int>, val values: LongArray) : Tensor

/**
 * Runs the stages of a bundle; the caches of decoder stages are the engine's, so one sequence runs at a time.
 *
 * A call with p past tokens writes the cache rows p to p + S - 1 and attends to the rows before them.
 */
interface Engine : AutoCloseable {
    /** The name and the version of the library that runs the graphs; the version is null where it is not known. */
    val name: String
    val version: String?

    /** Returns the outputs of a stage by name; [grid] is the index of the grid that the inputs of a view have. */
    fun run(stage: String, inputs: Map<String, Tensor>, grid: Int = 0): Map<String, Tensor>
}

/**
 * How an engine is loaded: [threads] null is the engine's own choice, [contextTokens] null the bundle's context.
 *
 * [programs] loads the programs of ExecuTorch bundles, null where there is no such library: `executorchModules`.
 */
data class EngineOptions(val threads: Int? = null, val contextTokens: Int? = null, val programs: ProgramLoader? = null) {
    init {
        if (threads != null && threads < 1) throw BadRequest("threads: got $threads, allowed: 1 or more")
    }

    /** Returns the requested context, or the bundle's. Raises [BadRequest] for one that the bundle does not have. */
    fun contextOf(bundle: Bundle): Int {
        val most = bundle.manifest.contextTokens
        val requested = contextTokens ?: most
        if (requested !in 1..most) throw BadRequest("context_tokens: got $requested, allowed: 1 to $most")
        return requested
    }
}

/** Returns the engine for the bundle's target with all stages loaded; [loading] is told each stage's name before it. */
fun loadEngine(bundle: Bundle, options: EngineOptions, loading: (String) -> Unit = {}): Engine =
    when (val target = bundle.manifest.target) {
        "onnx" -> OnnxEngine(bundle, options, loading)
        "executorch" -> {
            val programs = options.programs ?: throw BadRequest("the bundle needs ExecuTorch, which is not part of this app; choose an ONNX bundle")
            ExecutorchEngine(bundle, options, programs, loading)
        }
        else -> throw BadRequest("the bundle was exported for ${shortRepr(target)}; this runtime runs: onnx, executorch")
    }
