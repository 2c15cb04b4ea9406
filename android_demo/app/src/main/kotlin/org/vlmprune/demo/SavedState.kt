package org.vlmprune.demo

import androidx.compose.ui.geometry.Rect
import androidx.lifecycle.SavedStateHandle
import org.vlmprune.demo.ask.Answer
import org.vlmprune.demo.ask.AskState
import org.vlmprune.demo.ask.KeptView
import org.vlmprune.demo.ask.Mode
import org.vlmprune.demo.ask.Patch
import org.vlmprune.demo.ask.Phase
import org.vlmprune.demo.ask.Photos
import org.vlmprune.demo.ask.Turn
import org.vlmprune.demo.benchmark.BenchmarkState

private const val ANSWER_TEXTS = 6

/** What outlives the app's process: photos, questions, answers, what was kept, and what a person has chosen. */
class SavedState(private val saved: SavedStateHandle, private val photos: Photos) {
    fun save(state: AskState) {
        saved["photos"] = ArrayList(state.photos.map { it.id })
        saved["shown_photo"] = state.shownPhoto
        saved["question"] = state.question
        saved["mode"] = state.mode.name
        saved["turns"] = ArrayList(state.turns.flatMapIndexed { nth, turn -> turn.answers.flatMap { rows(nth, turn.question, it) } })
        saved["kept"] = ArrayList(state.kept.map(::numbers))
    }

    fun save(state: BenchmarkState) {
        saved["pairs"] = state.pairs
        saved["benchmark_prompt"] = state.prompt
    }

    /** Returns the Ask screen as it was; an answer that was coming about then has stopped. */
    fun ask(): AskState {
        val state = AskState(
            photos = saved.get<ArrayList<String>>("photos").orEmpty().mapNotNull(photos::restored),
            shownPhoto = saved.get<Int>("shown_photo") ?: 0,
            question = saved.get<String>("question").orEmpty(),
            mode = saved.get<String>("mode")?.let(Mode::valueOf) ?: Mode.PRUNED,
            turns = saved.get<ArrayList<String>>("turns").orEmpty().chunked(ANSWER_TEXTS).groupBy { it[0] }.values.map(::turn),
            kept = saved.get<ArrayList<FloatArray>>("kept").orEmpty().map(::view),
        )
        return state.copy(shownKept = state.keptCount)
    }

    fun benchmark() = BenchmarkState(
        pairs = saved.get<Int>("pairs") ?: BenchmarkState().pairs, prompt = saved.get<String>("benchmark_prompt").orEmpty(),
    )
}

/** Returns an answer as texts: the number of its turn, the question, and what is in the answer. */
private fun rows(nth: Int, question: String, answer: Answer): List<String> {
    val done = answer.phase as? Phase.Done
    return listOf("$nth", question, "${answer.pruned}", answer.text, "${done != null}", "${done?.cut == true}")
}

private fun turn(rows: List<List<String>>) = Turn(rows.first()[1], rows.map(::answer))

private fun answer(row: List<String>): Answer {
    val phase = if (row[4].toBoolean()) Phase.Done(cut = row[5].toBoolean()) else Phase.Stopped
    return Answer(pruned = row[2].toBoolean(), text = row[3], phase)
}

/** Returns a view as numbers: photo, visual tokens, the rectangle that is seen, then the rank and the rectangle of each token. */
private fun numbers(view: KeptView): FloatArray =
    floatArrayOf(view.photo.toFloat(), view.visualTokens.toFloat(), *edges(view.seen)) + view.patches.flatMap { listOf(it.rank.toFloat()) + edges(it.box).toList() }

private fun view(numbers: FloatArray): KeptView {
    val patches = numbers.toList().drop(6).chunked(5).map { Patch(it[0].toInt(), Rect(it[1], it[2], it[3], it[4])) }
    return KeptView(numbers[0].toInt(), Rect(numbers[2], numbers[3], numbers[4], numbers[5]), patches, numbers[1].toInt())
}

private fun edges(box: Rect) = floatArrayOf(box.left, box.top, box.right, box.bottom)
