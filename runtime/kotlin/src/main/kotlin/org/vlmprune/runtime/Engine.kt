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
        val out = FloatArray(indices.size * rowSize)
        for ((nth, row) in indices.withIndex()) values.copyInto(out, nth * rowSize, row * rowSize, (row + 1) * rowSize)
        return FloatTensor(listOf(indices.size) + shape.drop(1), out)
    }

    fun copy() = FloatTensor(shape, values.copyOf())
}

class IntegerTensor(override val shape: List<Int>, val values: LongArray) : Tensor

/** Runs the stages of a bundle; the caches of decoder stages are the engine's, so one sequence runs at a time. */
interface Engine : AutoCloseable {
    /** The most tokens that a sequence may have, prompt and answer together. */
    val contextTokens: Int

    /** Returns the outputs of a stage by name; [grid] is the index of the grid that the inputs of a view have. */
    fun run(stage: String, inputs: Map<String, Tensor>, grid: Int = 0): Map<String, Tensor>
}
