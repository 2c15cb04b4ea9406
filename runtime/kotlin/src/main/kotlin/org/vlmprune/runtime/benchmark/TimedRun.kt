package org.vlmprune.runtime.benchmark

import org.vlmprune.runtime.BadRequest
import org.vlmprune.runtime.ImageSource
import org.vlmprune.runtime.Request
import org.vlmprune.runtime.RunEvent
import org.vlmprune.runtime.Runner
import org.vlmprune.runtime.State
import org.vlmprune.runtime.StageTimer
import org.vlmprune.runtime.Timings
import org.vlmprune.runtime.encodeFollowUp
import org.vlmprune.runtime.extend
import org.vlmprune.runtime.greedy
import org.vlmprune.runtime.msSince
import org.vlmprune.runtime.prefill
import org.vlmprune.runtime.shortRepr

internal const val SAMPLE_FOLLOW_UP = "How many objects are there?"

/**
 * The work of every run: so many [tokens] are decoded greedily.
 *
 * Stop tokens do not end a run, and the bundle's generation settings are not used. [followUp] null is a sample question,
 * which is asked of the bundles that have room for it.
 */
internal class Task(val images: List<ImageSource>, val prompt: String, val tokens: Int, val followUp: String?) {
    fun request(prune: Boolean) = Request(images, prompt, prune)
}

/** The times of one run, and how many tokens the cache of each decoder stage holds after the answer. */
internal class TimedRun(val timings: Timings, val pastTokens: Map<String, Int>, val followUpMs: Double?)

/** Runs the task once, timed as [Runner.stream] times it. */
internal suspend fun runTimed(runner: Runner, task: Task, prune: Boolean): TimedRun {
    val start = System.nanoTime()
    val question = runner.ask(task.request(prune))
    val stages = mutableListOf(RunEvent.StageTimed("preprocess", msSince(start)))
    val timer: StageTimer = { stage, ms -> stages += RunEvent.StageTimed(stage, ms) }
    var state = prefill(runner, question.prompt, question.pixels, prune, timer = timer)
    var token = greedy(state.logits)
    val ttftMs = msSince(start)
    val decodeMs = List(task.tokens - 1) {
        val began = System.nanoTime()
        state = extend(runner, intArrayOf(token), state)
        token = greedy(state.logits)
        msSince(began)
    }
    val used = question.prompt.tokenIds.size + task.tokens
    return TimedRun(Timings(stages, ttftMs, decodeMs), state.pastTokens, followUpMs(runner, task, used, token, state))
}

/**
 * Returns the tokens of the further question behind so many [used] ones.
 *
 * The sample question gives null where the bundle or its context has no room. Raises [BadRequest] for another one.
 */
internal fun followUpTokens(runner: Runner, task: Task, used: Int): IntArray? {
    val isSample = task.followUp == null
    if (isSample && runner.bundle.manifest.prompt.followUp == null) return null
    val ids = encodeFollowUp(runner.tokenizer, runner.bundle.manifest.prompt, task.followUp ?: SAMPLE_FOLLOW_UP)
    if (used + ids.size <= runner.contextTokens) return ids
    if (isSample) return null
    val name = shortRepr(runner.bundle.manifest.name)
    throw BadRequest("$name: prompt, answer and follow-up take ${used + ids.size} tokens, the context has ${runner.contextTokens}")
}

/** Returns the time of the first token behind the further question, null if it is not asked. */
private suspend fun followUpMs(runner: Runner, task: Task, used: Int, lastToken: Int, state: State): Double? {
    val start = System.nanoTime()
    val ids = followUpTokens(runner, task, used) ?: return null
    greedy(extend(runner, intArrayOf(lastToken) + ids, state).logits)
    return msSince(start)
}
