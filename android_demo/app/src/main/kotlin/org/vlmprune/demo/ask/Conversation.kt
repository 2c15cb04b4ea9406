package org.vlmprune.demo.ask

import androidx.compose.ui.geometry.Rect
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.update
import org.vlmprune.demo.problemOf
import org.vlmprune.runtime.Reason
import org.vlmprune.runtime.Request
import org.vlmprune.runtime.RunEvent
import org.vlmprune.runtime.RunResult
import org.vlmprune.runtime.Runner
import org.vlmprune.runtime.benchmark.peakBytes
import org.vlmprune.runtime.chosen

/** The text on the screen is redrawn this often at most: redrawing it for each token would slow the tokens down. */
private const val REDRAW_MS = 150L

/** Asks questions about the photos and writes what comes back into the screen's state. */
class Conversation(private val state: MutableStateFlow<AskState>, private val photos: Photos) {
    private var asked: Runner? = null

    /** Notes that the runner's caches hold something else now, so that the next question begins a conversation. */
    fun forget() {
        asked = null
    }

    /** Asks, in both modes in turn where they are compared; a cancelled question keeps what was answered by then. */
    suspend fun ask(runner: Runner, question: String) {
        val before = state.value
        val followUp = before.turns.isNotEmpty() && asked === runner && runner.canFollowUp
        asked = runner
        val modes = if (followUp) listOf(before.turns.last().answers.last().pruned) else before.mode.runs()
        state.update {
            it.copy(turns = it.turns + Turn(question, modes.map { prune -> Answer(prune) }), question = "", running = true, problem = null)
        }
        try {
            for ((nth, prune) in modes.withIndex()) answer(nth) { events(runner, question, prune, followUp) }
        } finally {
            state.update { it.copy(running = false) }
        }
    }

    private fun events(runner: Runner, question: String, prune: Boolean, followUp: Boolean): Flow<RunEvent> =
        if (followUp) runner.followUp(question) else runner.stream(Request(state.value.photos.map(photos::source), question, prune))

    private suspend fun answer(nth: Int, start: () -> Flow<RunEvent>) {
        val text = StringBuilder()
        var drawn = 0L
        try {
            start().collect { event ->
                when (event) {
                    is RunEvent.StageTimed -> change(nth) { if (text.isEmpty()) it.copy(phase = Phase.Prefilling(event.stage)) else it }
                    is RunEvent.Pruned -> show(event)
                    is RunEvent.TextPiece -> {
                        text.append(event.text)
                        val now = System.currentTimeMillis()
                        if (now - drawn >= REDRAW_MS) change(nth) { it.copy(text = text.toString(), phase = Phase.Streaming) }.also { drawn = now }
                    }
                    is RunEvent.Finished -> change(nth) { finished(it, event.result) }
                }
            }
        } catch (error: CancellationException) {
            stop(text.toString())
            throw error
        } catch (error: Throwable) {
            change(nth) { it.copy(text = text.toString(), phase = Phase.Failed(problemOf(error))) }
        }
    }

    /** Marks what is not finished as stopped. */
    private fun stop(text: String) = state.update { state ->
        state.withLastTurn { turn ->
            turn.copy(answers = turn.answers.map { answer ->
                val open = answer.phase is Phase.Waiting || answer.phase is Phase.Prefilling || answer.phase is Phase.Streaming
                if (open) answer.copy(text = if (answer.phase is Phase.Streaming) text else answer.text, phase = Phase.Stopped) else answer
            })
        }
    }

    private fun change(nth: Int, changed: (Answer) -> Answer) = state.update { state ->
        state.withLastTurn { turn -> turn.copy(answers = turn.answers.mapIndexed { index, answer -> if (index == nth) changed(answer) else answer }) }
    }

    private fun show(event: RunEvent.Pruned) = state.update {
        val view = event.toView()
        val others = it.kept.filterNot { kept -> kept.photo == view.photo && kept.seen == view.seen }
        val shown = it.copy(kept = others + view)
        shown.copy(shownKept = shown.keptCount)
    }

    private fun finished(answer: Answer, result: RunResult): Answer {
        val timings = result.timings
        val measured = Measured(
            stages = timings.stages.map { StageTime(it.stage, it.ms) } + StageTime("decode", timings.decodeMs.sum()),
            ttftMs = timings.ttftMs,
            totalMs = timings.ttftMs + timings.decodeMs.sum(),
            tokens = result.tokenIds.size,
            tokensPerS = timings.decodeTokensPerS,
            prefilledTokens = result.prefilledTokens,
            peakBytes = peakBytes(),
        )
        return answer.copy(text = result.text, phase = Phase.Done(cut = result.reason == Reason.LENGTH), measured = measured)
    }
}

/** Without pruning first, so that a follow-up question goes on with the pruned caches. */
private fun Mode.runs(): List<Boolean> = when (this) {
    Mode.PRUNED -> listOf(true)
    Mode.UNPRUNED -> listOf(false)
    Mode.BOTH -> listOf(false, true)
}

private fun AskState.withLastTurn(changed: (Turn) -> Turn): AskState =
    if (turns.isEmpty()) this else copy(turns = turns.dropLast(1) + changed(turns.last()))

private fun RunEvent.Pruned.toView(): KeptView {
    val width = area.picture.width.toFloat()
    val height = area.picture.height.toFloat()
    fun fraction(box: org.vlmprune.runtime.Box) =
        Rect(box.left.toFloat() / width, box.top.toFloat() / height, box.right.toFloat() / width, box.bottom.toFloat() / height)
    return KeptView(image, fraction(area.box), chosen().map { Patch(it.rank, fraction(it.box)) }, visualTokens)
}
