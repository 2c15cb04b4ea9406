package org.vlmprune.runtime

import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.flow
import org.vlmprune.runtime.tokenizer.Tokenizer

/** One question about pictures, in the order of their places in the prompt; [prune] false asks the unpruned model. */
data class Request(
    val pictures: List<Picture>,
    val prompt: String,
    val prune: Boolean = true,
    val maxTokens: Int? = null,
    val sampling: Sampling = Sampling(),
)

/** What happens while an answer comes about. */
sealed interface RunEvent {
    /** A stage has run, and took so long. */
    data class StageTimed(val stage: String, val ms: Double) : RunEvent

    /** The cells of a view's grid whose tokens were kept, in their order, and the rank of each choice from 0. */
    data class Pruned(val kept: List<Int>, val rank: List<Int>, val visualTokens: Int, val view: Int) : RunEvent

    /** The next whole characters of the answer. */
    data class TextPiece(val text: String) : RunEvent

    /** The answer is complete. */
    data class Finished(val result: RunResult) : RunEvent
}

enum class Reason { STOP, LENGTH }

/** The times of every stage up to the first token, and of each later token, in milliseconds. */
class Timings(val stages: List<RunEvent.StageTimed>, val ttftMs: Double, val decodeMs: List<Double>)

/** The whole answer; [tokenIds] leave out the stop token that ends an answer. */
class RunResult(
    val text: String,
    val tokenIds: List<Int>,
    val reason: Reason,
    val promptTokens: Int,
    val pruned: List<RunEvent.Pruned>,
    val timings: Timings,
)

private const val MAX_TOKENS = 32

/** A bundle with its engine and tokenizer; it gives one answer at a time, for the caches are the engine's. */
class Runner(val bundle: Bundle, private val engine: Engine, private val tokenizer: Tokenizer) : AutoCloseable {
    private val manifest = bundle.manifest

    /** Returns the events of an answer, which comes about while they are collected; cancelling stops it. */
    fun stream(request: Request): Flow<RunEvent> = flow {
        val record = Recorder(this)
        val views = request.pictures.map { only(seenPictures(it, manifest.image)) }
        val encoded = encode(request.prompt, views.size)
        val pixels = views.map { FloatTensor(listOf(1, 3, it.height, it.width), it.values(manifest.image)) }
        record.stage("preprocess", record.elapsedMs())
        record.emitStages()
        val state = prefill(manifest, engine, encoded, pixels, request.prune, record::stage)
        record.emitStages()
        val pruned = pruned(state)
        pruned.forEach { emit(it) }
        val answer = decode(request, encoded, state, record)
        emit(RunEvent.Finished(RunResult(answer.text, answer.ids, answer.reason, encoded.tokenIds.size, pruned, record.timings())))
    }

    override fun close() = engine.close()

    private fun encode(prompt: String, pictures: Int): EncodedPrompt {
        val tokens = manifest.grids[0].viewTokens
        val encoded = encodePrompt(tokenizer, manifest.prompt, prompt, List(pictures) { tokens }, List(pictures) { 0 })
        if (encoded.tokenIds.size > engine.contextTokens) {
            throw BadRequest("the prompt takes ${encoded.tokenIds.size} tokens, the context has ${engine.contextTokens}")
        }
        return encoded
    }

    private fun pruned(state: State): List<RunEvent.Pruned> = state.selections
        .filter { it.cut == manifest.cuts.last().stage }
        .map { RunEvent.Pruned(it.cells.toList(), it.rank.toList(), manifest.grids[0].visualTokens, it.view) }

    private suspend fun decode(request: Request, encoded: EncodedPrompt, first: State, record: Recorder): Answer {
        val settings = request.sampling.applied(manifest.generation)
        val limit = request.maxTokens ?: settings.limit(encoded.tokenIds.size, MAX_TOKENS)
        val chooser = TokenChooser(settings, encoded.tokenIds.toList(), limit, request.sampling.seed)
        val writer = TextStream(tokenizer)
        var state = first
        var token = chooser.choose(state.logits)
        record.firstToken()
        while (token !in settings.stopTokenIds) {
            currentCoroutineContext().ensureActive()
            record.text(writer.push(token))
            if (writer.tokenIds.size >= limit || state.maxPastTokens >= engine.contextTokens) {
                record.text(writer.finish())
                return Answer(writer.text, writer.tokenIds, Reason.LENGTH)
            }
            val start = System.nanoTime()
            state = extend(manifest, engine, intArrayOf(token), state)
            token = chooser.choose(state.logits)
            record.decoded((System.nanoTime() - start) / 1e6)
        }
        record.text(writer.finish())
        return Answer(writer.text, writer.tokenIds, Reason.STOP)
    }
}

private class Answer(val text: String, val ids: List<Int>, val reason: Reason)

/** Returns the only view of a picture. */
private fun only(views: List<Picture>): Picture =
    views.singleOrNull() ?: throw BadRequest("the picture is seen as ${views.size} views; allowed here: one")

/** Measures a run and reports it to whoever collects its events. */
private class Recorder(private val events: FlowCollector<RunEvent>) {
    private val start = System.nanoTime()
    private val stages = mutableListOf<RunEvent.StageTimed>()
    private val decodeMs = mutableListOf<Double>()
    private var ttftMs = 0.0
    private var emitted = 0

    fun elapsedMs(): Double = (System.nanoTime() - start) / 1e6

    fun stage(name: String, ms: Double) {
        stages += RunEvent.StageTimed(name, ms)
    }

    suspend fun emitStages() {
        while (emitted < stages.size) events.emit(stages[emitted++])
    }

    fun firstToken() {
        ttftMs = elapsedMs()
    }

    fun decoded(ms: Double) {
        decodeMs += ms
    }

    suspend fun text(piece: String) {
        if (piece.isNotEmpty()) events.emit(RunEvent.TextPiece(piece))
    }

    fun timings() = Timings(stages.toList(), ttftMs, decodeMs.toList())
}
