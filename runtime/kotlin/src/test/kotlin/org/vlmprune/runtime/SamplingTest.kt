package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.GenerationSpec
import kotlin.math.abs
import kotlin.math.ln
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** The examples of Python's docstrings, and what the bundle's settings must do to a choice. */
class SamplingTest {
    @Test
    fun `candidates and their probabilities are those of Python`() {
        val scores = listOf(0.2, 0.5, 0.3).map { ln(it).toFloat() }.toFloatArray()
        val (ids, shares) = samplingCandidates(scores, settings().copy(topP = 0.6)).unzip()
        assertEquals(listOf(1, 2), ids)
        assertTrue(abs(shares[0] - 0.625) < 1e-6 && abs(shares[1] - 0.375) < 1e-6)
        assertEquals(listOf(1), samplingCandidates(scores, settings().copy(topK = 1)).map { it.first })
        assertEquals(listOf(1, 2), samplingCandidates(scores, settings().copy(minP = 0.5)).map { it.first })
        assertEquals(listOf(1, 2, 0), samplingCandidates(scores, settings()).map { it.first })
    }

    @Test
    fun `penalties are those of Python`() {
        val penalised = penalised(floatArrayOf(2f, -2f, 1f), AnswerProgress(listOf(0, 1, 1), 1, 9), settings().copy(repetitionPenalty = 2.0))
        assertEquals(listOf(1f, -4f, 1f), penalised.toList())
        assertEquals(listOf(7), repeatedNgrams(listOf(5, 6, 7, 5, 6), 3))
        assertEquals(listOf(9, 7), badWordTokens(listOf(1, 2), listOf(listOf(2, 9), listOf(3, 8), listOf(7), listOf(0)), listOf(0)))
    }

    @Test
    fun `stop tokens are banned and forced where the settings say so`() {
        fun first(settings: GenerationSpec, limit: Int = 9) = TokenChooser(settings, listOf(0), limit, seed = 0).choose(floatArrayOf(0.1f, 2f, 1f))
        assertEquals(1, first(settings()))
        assertEquals(2, first(settings().copy(suppressTokenIds = listOf(1))))
        assertEquals(2, first(settings().copy(beginSuppressTokenIds = listOf(1, 99))))
        assertEquals(2, first(settings().copy(stopTokenIds = listOf(1), minNewTokens = 1)))
        assertEquals(2, first(settings().copy(stopTokenIds = listOf(1), minLength = 2)))
        assertEquals(0, first(settings().copy(forcedStopTokenIds = listOf(0)), limit = 1))
    }

    @Test
    fun `a seed gives the same answer again, and draws follow the probabilities`() {
        val logits = FloatArray(4) { ln((it + 1) / 10.0).toFloat() }
        fun drawn(seed: Int) = TokenChooser(settings().copy(doSample = true), emptyList(), 9999, seed).let { chooser -> List(4000) { chooser.choose(logits) } }
        assertEquals(drawn(1).take(50), drawn(1).take(50))
        val counts = drawn(2).groupingBy { it }.eachCount()
        for (id in 0..3) assertTrue(abs(counts.getValue(id) / 4000.0 - (id + 1) / 10.0) < 0.04, "$counts")
    }

    @Test
    fun `what is no number or out of range is refused`() {
        assertFailsWith<EngineError> { greedy(floatArrayOf(1f, Float.NaN)) }
        assertFailsWith<BadRequest> { Sampling(temperature = -1.0) }
        assertFailsWith<BadRequest> { Sampling(topP = 0.0) }
        assertFailsWith<BadRequest> { Sampling(seed = -1) }
        assertEquals(false, Sampling(temperature = 0.0).applied(settings().copy(doSample = true)).doSample)
    }

    private fun settings() = GenerationSpec(
        stopTokenIds = emptyList(), maxNewTokens = null, maxLength = null, repetitionPenalty = 1.0, noRepeatNgramSize = 0,
        badWordsIds = emptyList(), minLength = 0, minNewTokens = 0, forcedStopTokenIds = emptyList(),
        suppressTokenIds = emptyList(), beginSuppressTokenIds = emptyList(), doSample = false, temperature = 1.0,
        topK = 0, topP = 1.0, minP = 0.0,
    )
}
