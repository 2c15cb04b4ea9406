package org.vlmprune.runtime

import kotlinx.coroutines.flow.last
import kotlinx.coroutines.runBlocking
import org.vlmprune.runtime.benchmark.BenchmarkEvent
import org.vlmprune.runtime.benchmark.BenchmarkRequest
import org.vlmprune.runtime.benchmark.measure
import org.vlmprune.runtime.benchmark.openTimed
import java.nio.file.Files
import java.nio.file.Path

/**
 * Asks or measures a bundle outside of a test: `answer BUNDLE PICTURE PROMPT TOKENS` prints a JSON line for each mode,
 * `measure BUNDLE PICTURE PROMPT TOKENS PAIRS RECORD.json` writes a benchmark record. Both run on one thread.
 */
fun main(args: kotlin.Array<String>): Unit = runBlocking {
    val (command, bundle, picture, prompt, tokens) = args
    val (runner, load) = openTimed(Path.of(bundle), EngineOptions(threads = 1))
    val image = pictureFile(Path.of(picture))
    runner.use {
        if (command == "answer") return@use answers(runner, Request(listOf(image), prompt, maxTokens = tokens.toInt()))
        val request = BenchmarkRequest(listOf(image), prompt, repetitions = args[5].toInt(), tokens = tokens.toInt())
        val finished = measure(runner, request, load = load).last() as BenchmarkEvent.Finished
        Files.writeString(Path.of(args[6]), finished.record.toJson())
    }
}

private suspend fun answers(runner: Runner, request: Request) {
    for (prune in listOf(true, false)) {
        val result = runner.answer(request.copy(prune = prune))
        val kept = result.pruned.map { view -> view.kept }
        val line = mapOf("prune" to prune, "token_ids" to result.tokenIds, "text" to result.text, "kept" to kept)
        println(toJson(line).lines().joinToString(" ") { it.trim() })
    }
}
