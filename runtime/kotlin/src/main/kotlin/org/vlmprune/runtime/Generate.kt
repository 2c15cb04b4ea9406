package org.vlmprune.runtime

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.flow.last
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import org.vlmprune.runtime.tokenizer.Tokenizer
import org.vlmprune.runtime.tokenizer.loadTokenizer
import java.nio.file.Path

private const val MAX_TOKENS = 32

/**
 * A question about one or more images, in the order of their places in the prompt; [prune] false asks the unpruned model
 * on the same weights. [maxTokens] null is the bundle's own limit, or 32 where it has none.
 */
data class Request(
    val images: List<ImageSource>,
    val prompt: String,
    val prune: Boolean = true,
    val maxTokens: Int? = null,
    val sampling: Sampling = Sampling(),
) {
    init {
        if (maxTokens != null && maxTokens < 1) throw BadRequest("max_tokens: got $maxTokens, allowed: 1 or more")
    }
}

/** How far a runner is: what it does before it can answer. */
sealed interface LoadProgress {
    data class Verifying(val fraction: Double) : LoadProgress
    data class Loading(val stage: String, val nth: Int, val stages: Int) : LoadProgress
    data class WarmingUp(val prune: Boolean) : LoadProgress
}

/** Opens the bundle in a folder and loads its tokenizer and engine; [verify] false skips the hashes of its files. */
fun openRunner(
    folder: Path,
    options: EngineOptions = EngineOptions(),
    verify: Boolean = true,
    progress: (LoadProgress) -> Unit = {},
): Runner {
    val bundle = openBundle(folder, verify) { progress(LoadProgress.Verifying(it)) }
    val tokenizer = loadTokenizer(bundle.path(bundle.manifest.tokenizer))
    val stages = bundle.manifest.stages.size
    var nth = 0
    val engine = loadEngine(bundle, options) { progress(LoadProgress.Loading(it, ++nth, stages)) }
    return Runner(bundle, engine, tokenizer, options)
}

/**
 * Answers questions with a bundle; it gives one answer at a time, because the engine has one set of caches.
 *
 * Its flows run on [Dispatchers.Default] wherever they are collected. Cancelling the collector stops an answer after the
 * stage that is running; another question ends the answer before it with a [BadRequest].
 */
class Runner(
    val bundle: Bundle,
    internal val engine: Engine,
    internal val tokenizer: Tokenizer,
    val options: EngineOptions = EngineOptions(),
) : AutoCloseable {
    /** The most tokens that a sequence may have, prompt and answer together. */
    val contextTokens: Int = options.contextOf(bundle)
    private val manifest = bundle.manifest
    private val running = Mutex()
    private var closed = false

    @Volatile
    internal var current: Recorder? = null
        private set
    private var firstRequest: Request? = null
    private var conversation: Conversation? = null

    /** Whether a further question can be asked: the first one's prompt has run, and the chat template knows such. */
    val canFollowUp: Boolean get() = conversation != null && manifest.prompt.followUp != null

    /** Returns the events of an answer: stages as they have run, the kept tokens, text, and `Finished` at the end. */
    fun stream(request: Request): Flow<RunEvent> = oneAtATime { record ->
        firstRequest = request
        conversation = null
        encode(request.prompt, smallest(request.images.size))
        val pictures = see(request)
        reply(request, firstTurn(request.prompt, pictures.map { it.place }), pictures, record)
    }

    /**
     * Returns the events of the answer to a further question, which goes on behind what was said last.
     *
     * It has the settings of the request that began the conversation. New images are pruned as the first ones were; of
     * those before, the same tokens stay kept. An answer that was given up half-way counts as far as it went. Raises
     * [BadRequest] if nothing was asked yet, or if the bundle or the context has no room for the question.
     */
    fun followUp(prompt: String, images: List<ImageSource> = emptyList()): Flow<RunEvent> = oneAtATime { record ->
        val before = conversation
        val further = firstRequest?.copy(prompt = prompt, images = images)
        if (before == null || further == null) {
            throw BadRequest("there is no conversation to go on with; ask a first question before a follow-up")
        }
        renderFollowUp(manifest.prompt, prompt, smallest(images.size)) // so that too many are refused before one is read
        val pictures = see(further)
        val turn = before.goOn(tokenizer, manifest.prompt, manifest.viewTokens, prompt, pictures.map { it.place })
        reply(further, turn, pictures, record)
    }

    /** Returns the result of an answer, without the events before it. */
    suspend fun answer(request: Request): RunResult = (stream(request).last() as RunEvent.Finished).result

    /** Asks a short question about a grey picture, pruned and not, so that the first answer does not pay for it. */
    suspend fun warmUp(progress: (LoadProgress) -> Unit = {}) {
        val (height, width) = manifest.grids[0].size
        val grey = LoadedPicture("grey", Picture(width, height, ByteArray(3 * width * height) { 127 }))
        for (prune in listOf(true, false)) {
            progress(LoadProgress.WarmingUp(prune))
            answer(Request(listOf(grey), "?", prune, maxTokens = 2))
        }
        conversation = null
    }

    /** Frees the engine, after the stage that is running has ended. */
    override fun close() {
        current = null
        runBlocking { running.withLock { if (!closed) engine.close().also { closed = true } } }
    }

    /** Runs [work] with the engine for itself; only the newest one goes on. */
    private fun oneAtATime(work: suspend FlowCollector<RunEvent>.(Recorder) -> Unit): Flow<RunEvent> = flow {
        val record = Recorder()
        current = record
        running.withLock {
            if (closed) throw BadRequest("this runner is closed; open the bundle again")
            work(record)
        }
    }.flowOn(Dispatchers.Default)

    /** Returns a first question with its pictures. Raises [BadRequest] if it or one of them has no place. */
    internal fun ask(request: Request): Question {
        encode(request.prompt, smallest(request.images.size))
        val pictures = see(request)
        return Question(encode(request.prompt, pictures.map { it.place }), pictures)
    }

    /** Does [work] with the engine, as an answer would, and ends an answer that is coming about. */
    internal suspend fun <T> exclusively(work: suspend () -> T): T {
        current = null
        return running.withLock { conversation = null; work() }
    }

    private fun encode(prompt: String, pictures: List<PicturePlace>): EncodedPrompt {
        val encoded = encodePrompt(tokenizer, manifest.prompt, manifest.viewTokens, prompt, pictures)
        return encoded.also { checkRoom(it.tokenIds.size, it, further = false) }
    }

    private fun see(request: Request): List<SeenPicture> {
        val steps = manifest.imageSteps(request.prune)
        return request.images.map { see(manifest, steps, it.load()) }
    }

    /** Returns the least places that so many pictures need: one view each, on the smallest grid. */
    private fun smallest(pictures: Int): List<PicturePlace> {
        val tokens = manifest.viewTokens
        return List(pictures) { PicturePlace(listOf(tokens.indexOf(tokens.min()))) }
    }

    private fun firstTurn(prompt: String, places: List<PicturePlace>): QuestionTurn {
        val text = render(manifest.prompt, prompt, places)
        val ids = tokenize(tokenizer, manifest.prompt, text)
        return QuestionTurn(text, ids, places, expandIds(ids, manifest.prompt, manifest.viewTokens, places))
    }

    /** Emits the events of the answer to a turn's question. */
    private suspend fun FlowCollector<RunEvent>.reply(
        request: Request,
        turn: QuestionTurn,
        pictures: List<SeenPicture>,
        record: Recorder,
    ) {
        val tokenIds = turn.tokenIds
        checkRoom(tokenIds.size, turn.prompt, further = turn.behind != null)
        val timer: StageTimer = { stage, ms ->
            checkCurrent(record)
            emit(record.ran(stage, ms))
        }
        timer("preprocess", record.elapsedMs())
        val pixels = pictures.flatMap { it.pixels }
        val state = prefill(this@Runner, turn.prompt, pixels, request.prune, turn.behind?.state, timer)
        val answer = TextStream(tokenizer)
        val talk = turn.asked(state, answer).also { conversation = it }
        val pruned = prunedViews(state, turn, pictures).onEach { emit(it) }
        val reason = decode(chooser(request, tokenIds), talk, record)
        val seen = pictures.flatMapIndexed { nth, picture -> picture.reported(manifest, turn.earlierPictures + nth) }
        val prefilled = turn.prompt.tokenIds.size
        val result = RunResult(answer.text, answer.tokenIds.toList(), reason, tokenIds.size, prefilled, pruned, record.timings(), seen)
        emit(RunEvent.Finished(result))
    }

    /** Returns the chooser of the tokens behind a prompt, which knows the limit of their number. */
    private fun chooser(request: Request, tokenIds: IntArray): TokenChooser {
        val settings = request.sampling.applied(manifest.generation)
        val limit = request.maxTokens ?: settings.limit(tokenIds.size, MAX_TOKENS)
        return TokenChooser(settings, tokenIds.toList(), limit, request.sampling.seed)
    }

    /** Returns what the last cut kept of each view of a turn's pictures. */
    private fun prunedViews(state: State, turn: QuestionTurn, pictures: List<SeenPicture>): List<RunEvent.Pruned> {
        val earlierViews = state.views - turn.prompt.spans.size
        val chosen = state.selections.filter { it.cut == manifest.cuts.last().stage && it.view >= earlierViews }
        return chosen.map {
            val (image, view) = turn.prompt.viewPlaces[it.view - earlierViews]
            val area = pictures[image].areas(manifest)[view]
            RunEvent.Pruned(it.cells.toList(), it.rank.toList(), area.height * area.width, turn.earlierPictures + image, view, area)
        }
    }

    private fun checkRoom(tokens: Int, prompt: EncodedPrompt, further: Boolean) {
        if (tokens <= contextTokens) return
        if (further) throw BadRequest("the conversation takes $tokens tokens by now, the context has $contextTokens; start it anew")
        val (images, views) = prompt.pictures.size to prompt.spans.size
        val pictures = (if (images == 1) "image" else "$images images") + (if (views > images) " in $views views" else "")
        throw BadRequest("the prompt takes $tokens tokens with its $pictures, the context has $contextTokens")
    }

    private suspend fun FlowCollector<RunEvent>.decode(chooser: TokenChooser, talk: Conversation, record: Recorder): Reason {
        val writer = talk.answer
        var state = talk.held.state
        var token = chooser.choose(state.logits)
        record.firstToken()
        while (token !in chooser.settings.stopTokenIds) {
            emitText(writer.push(token))
            if (writer.tokenIds.size >= chooser.limit || state.fills(contextTokens)) {
                emitText(writer.finish())
                return Reason.LENGTH
            }
            checkCurrent(record)
            val start = System.nanoTime()
            state = extend(this@Runner, intArrayOf(token), state)
            talk.ran(token, state)
            token = chooser.choose(state.logits)
            record.decoded(msSince(start))
        }
        emitText(writer.finish())
        return Reason.STOP
    }

    private suspend fun checkCurrent(record: Recorder) {
        currentCoroutineContext().ensureActive()
        if (current !== record) throw BadRequest("another answer was started on this runner, which ended this one")
    }
}

private suspend fun FlowCollector<RunEvent>.emitText(piece: String) {
    if (piece.isNotEmpty()) emit(RunEvent.TextPiece(piece))
}

/** The times that a run has measured so far. */
internal class Recorder {
    private val start = System.nanoTime()
    private val stages = mutableListOf<RunEvent.StageTimed>()
    private val decodeMs = mutableListOf<Double>()
    private var ttftMs = 0.0

    fun elapsedMs(): Double = msSince(start)

    fun ran(stage: String, ms: Double) = RunEvent.StageTimed(stage, ms).also { stages += it }

    fun firstToken() {
        ttftMs = elapsedMs()
    }

    fun decoded(ms: Double) {
        decodeMs += ms
    }

    fun timings() = Timings(stages.toList(), ttftMs, decodeMs.toList())
}
