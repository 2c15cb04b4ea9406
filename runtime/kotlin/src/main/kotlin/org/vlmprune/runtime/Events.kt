package org.vlmprune.runtime

/** The stages up to the first token in the order in which they are shown; a bundle need not have all of them. */
val TIMED_STAGES = listOf("preprocess", "vision", "embed", "prune_vision", "head", "prune", "tail")

/** The stages that the LLM prefill consists of, the pruner included. */
val LLM_PREFILL = listOf("prune_vision", "head", "prune", "tail")

/** What happens while an answer comes about. */
sealed interface RunEvent {
    /** A stage has run, and took so long. */
    data class StageTimed(val stage: String, val ms: Double) : RunEvent

    /**
     * Which visual tokens of a view were kept: places on the view's grid in image order, and the rank of each choice
     * from 0. [view] counts the views of one image, and [area] says where the grid lies in that image.
     */
    data class Pruned(
        val kept: List<Int>,
        val rank: List<Int>,
        val visualTokens: Int,
        val image: Int,
        val view: Int,
        val area: GridArea,
    ) : RunEvent

    /** The next whole characters of the answer. */
    data class TextPiece(val text: String) : RunEvent

    /** The answer is complete. */
    data class Finished(val result: RunResult) : RunEvent
}

/** How an answer ended: with a stop token, or because there was no room for more. */
enum class Reason { STOP, LENGTH }

/**
 * As what a view of an image was seen: visual tokens high and wide, and pixels.
 *
 * [row] and [column] are those of a tile, from 0, and null for a view that shows the whole image.
 */
data class SeenView(
    val image: Int,
    val height: Int,
    val width: Int,
    val heightPx: Int,
    val widthPx: Int,
    val row: Int?,
    val column: Int?,
)

/**
 * The times of every stage up to the first token in turn, and of each later token, in milliseconds.
 *
 * [ttftMs] runs from receiving image and prompt to choosing the first token, so it slightly exceeds the sum.
 */
class Timings(val stages: List<RunEvent.StageTimed>, val ttftMs: Double, val decodeMs: List<Double>) {
    /** The time that the language model takes for the prompt, the pruner included. */
    val llmPrefillMs: Double get() = LLM_PREFILL.sumOf(::stageMs)

    /** The speed after the first token, null if there was no second. */
    val decodeTokensPerS: Double? get() = if (decodeMs.isEmpty()) null else 1000 * decodeMs.size / decodeMs.sum()

    /** Returns the time of one stage, all images together; 0 if it did not run. */
    fun stageMs(stage: String): Double = stages.filter { it.stage == stage }.sumOf { it.ms }
}

/**
 * The whole answer; [tokenIds] leave out the stop token that ends an answer.
 *
 * [text] has no leading white space, and neither have the text pieces together. [promptTokens] counts all tokens before
 * the answer, and [prefilledTokens] those that were run for this answer: of a further question, the new ones.
 */
class RunResult(
    val text: String,
    val tokenIds: List<Int>,
    val reason: Reason,
    val promptTokens: Int,
    val prefilledTokens: Int,
    val pruned: List<RunEvent.Pruned>,
    val timings: Timings,
    val seen: List<SeenView>,
)
