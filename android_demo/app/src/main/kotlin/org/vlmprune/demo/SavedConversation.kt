package org.vlmprune.demo

import androidx.lifecycle.SavedStateHandle
import org.vlmprune.demo.ask.Answer
import org.vlmprune.demo.ask.AskState
import org.vlmprune.demo.ask.Mode
import org.vlmprune.demo.ask.Phase
import org.vlmprune.demo.ask.Photos
import org.vlmprune.demo.ask.Turn

/** Keeps photos, questions and answers over the process's death; times and kept tokens are not worth the space. */
class SavedConversation(private val saved: SavedStateHandle, private val photos: Photos) {
    fun save(state: AskState) {
        saved["photos"] = ArrayList(state.photos.map { it.id })
        saved["question"] = state.question
        saved["mode"] = state.mode.name
        saved["turns"] = ArrayList(state.turns.flatMap { turn -> turn.answers.map { listOf(turn.question, it.pruned.toString(), it.text) } }.flatten())
    }

    fun restored(): AskState = AskState(
        photos = saved.get<ArrayList<String>>("photos").orEmpty().mapNotNull(photos::restored),
        question = saved.get<String>("question").orEmpty(),
        mode = saved.get<String>("mode")?.let(Mode::valueOf) ?: Mode.PRUNED,
        turns = saved.get<ArrayList<String>>("turns").orEmpty().chunked(3).groupBy { it[0] }.map { (question, answers) ->
            Turn(question, answers.map { Answer(it[1].toBoolean(), it[2], Phase.Stopped) })
        },
    )
}
