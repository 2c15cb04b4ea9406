package org.vlmprune.demo.ask

import androidx.compose.ui.geometry.Rect
import androidx.compose.ui.graphics.ImageBitmap
import org.vlmprune.demo.Problem

enum class Mode { PRUNED, UNPRUNED, BOTH }

/** The Ask screen: photos, the conversation about them, and what of the photo shown was kept. */
data class AskState(
    val photos: List<Photo> = emptyList(),
    val shownPhoto: Int = 0,
    val question: String = "",
    val mode: Mode = Mode.PRUNED,
    val turns: List<Turn> = emptyList(),
    val running: Boolean = false,
    val kept: List<KeptView> = emptyList(),
    val shownKept: Int = 0,
    val problem: Problem? = null,
) {
    /** What was kept of the photo that is shown, one entry per view of it. */
    val keptOfShown: List<KeptView> get() = kept.filter { it.photo == shownPhoto }

    /** How many tokens of the photo shown were kept, in all its views. */
    val keptCount: Int get() = keptOfShown.sumOf { it.patches.size }
}

/** A photo that was chosen; [preview] is what the screen shows of it, upright. */
data class Photo(val id: String, val name: String, val preview: ImageBitmap)

/** One view of a photo: rectangles are fractions of the photo, [patches] in the order in which they were chosen. */
data class KeptView(val photo: Int, val seen: Rect, val patches: List<Patch>, val visualTokens: Int)

/** A kept token; where tiles are pruned together, [rank] counts the choices among the tokens of all of them. */
data class Patch(val rank: Int, val box: Rect)

/** Returns the kept tokens of all views in the order in which they were chosen: each view's first, then each one's second. */
fun List<KeptView>.inOrder(): List<Patch> = flatMap { it.patches }.sortedBy { it.rank }

data class Turn(val question: String, val answers: List<Answer>)

data class Answer(val pruned: Boolean, val text: String = "", val phase: Phase = Phase.Waiting, val measured: Measured? = null)

/** How far an answer is. */
sealed interface Phase {
    /** It waits for its turn, or for its first token while [stage] runs. */
    data object Waiting : Phase
    data class Prefilling(val stage: String) : Phase
    data object Streaming : Phase
    data class Done(val cut: Boolean) : Phase
    data object Stopped : Phase
    data class Failed(val problem: Problem) : Phase
}

data class StageTime(val stage: String, val ms: Double)

/** What an answer took. */
data class Measured(
    val stages: List<StageTime>,
    val ttftMs: Double,
    val totalMs: Double,
    val tokens: Int,
    val tokensPerS: Double?,
    val prefilledTokens: Int,
    val peakBytes: Long?,
)

/** Returns the seconds by which the pruned answer to a question came earlier; null while it is not known. */
fun Turn.savedSeconds(): Double? {
    val pruned = answers.firstOrNull { it.pruned }?.measured ?: return null
    val unpruned = answers.firstOrNull { !it.pruned }?.measured ?: return null
    return (unpruned.ttftMs - pruned.ttftMs) / 1000
}
