package org.vlmprune.runtime

import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import org.vlmprune.runtime.manifest.Dimension
import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.Role
import org.vlmprune.runtime.manifest.Source

/** What a cut kept of one view: places among the view's tokens at that cut, their order, and their cells. */
class Selection(val kept: IntArray, val rank: IntArray, val cells: IntArray, val view: Int, val cut: String)

/**
 * Where generation stands after a prompt or a token.
 *
 * [logits] are those of the next token, [pastTokens] is how many tokens each decoder stage has cached, [nextPosition] the
 * position of the next token, and [views] how many views the sequence has.
 */
class State(
    val logits: FloatArray,
    val pastTokens: Map<String, Int>,
    val nextPosition: Long,
    val selections: List<Selection>,
    val views: Int,
) {
    /** Says whether a context has no room for one more token: no row in the fullest cache, or no position. */
    fun fills(contextTokens: Int): Boolean = maxOf(nextPosition, pastTokens.values.max().toLong()) >= contextTokens

    /** Returns the state before the last so many tokens of text, whose cached rows the next tokens overwrite. */
    fun rewound(tokens: Int): State =
        State(logits, pastTokens.mapValues { it.value - tokens }, nextPosition - tokens, selections, views)
}

/** Is told the name of a stage that has run, and the milliseconds that it took. */
typealias StageTimer = suspend (String, Double) -> Unit

internal val UNTIMED: StageTimer = { _, _ -> }

/** Tokens on their way through the stages, driven by the manifest: the source of each input says what a stage takes. */
class Prefill(
    private val manifest: Manifest,
    private val engine: Engine,
    private var tokens: Tokens,
    private val behind: State? = null,
    private val timer: StageTimer = UNTIMED,
) {
    private var pixels = emptyList<FloatTensor>()
    private var spans = emptyList<Span>()
    private val pastTokens = behind?.pastTokens.orEmpty().toMutableMap()
    private val outputs = mutableMapOf<String, List<Map<String, Tensor>>>()
    private val stageTokens = mutableMapOf<String, Tokens>()
    private var rows: FloatTensor? = null
    private var featuresPlaced = false
    private val selections = behind?.selections.orEmpty().toMutableList()

    /** How many views the conversation had before. */
    private val earlierViews: Int get() = behind?.views ?: 0

    /** Adds the pixels (1, 3, H, W) of each view, whose features go into the places of the spans. */
    fun withViews(pixels: List<FloatTensor>, spans: List<Span>): Prefill {
        if (pixels.size != spans.size) throw BadRequest("got ${pixels.size} images, the prompt has places for ${spans.size}")
        this.pixels = pixels
        this.spans = spans
        return this
    }

    /** Runs some stages in turn and returns the state after them; cancelling ends it between two stages. */
    suspend fun run(stages: List<String>): State {
        stages.forEach { runStage(it) }
        val logits = outputs.getValue(stages.last()).single().getValue("logits") as FloatTensor
        return State(logits.values, pastTokens.toMap(), tokens.nextPosition, selections.toList(), earlierViews + pixels.size)
    }

    private suspend fun runStage(name: String) {
        val role = manifest.stages.getValue(name).role
        if (role == Role.VISION || role == Role.PRUNE) {
            runViews(name, role)
        } else {
            stageTokens[name] = tokens
            outputs[name] = listOf(call(name, inputs(name, null), 0))
        }
        if (role == Role.EMBED) rows = outputs.getValue(name).single().getValue("embeddings") as FloatTensor
        if (role == Role.DECODER) {
            pastTokens[name] = (pastTokens[name] ?: 0) + tokens.size
            rows = outputs.getValue(name).single()["hidden"] as FloatTensor?
        }
        placeFeatures()
    }

    /** Runs a stage once per view; the inputs of all views are taken before any of them is pruned. */
    private suspend fun runViews(name: String, role: Role) {
        val inputs = pixels.indices.map { inputs(name, it) }
        outputs[name] = inputs.mapIndexed { view, tensors -> call(name, tensors, tokens.grids[view]) }
        if (role == Role.PRUNE) outputs.getValue(name).forEachIndexed { view, pruned -> prune(name, view, pruned) }
    }

    private suspend fun call(name: String, inputs: Map<String, Tensor>, grid: Int): Map<String, Tensor> {
        currentCoroutineContext().ensureActive()
        val start = System.nanoTime()
        return engine.run(name, inputs, grid).also { timer(name, msSince(start)) }
    }

    /** Puts the visual embeddings in their places once both they and those of text are there. */
    private fun placeFeatures() {
        val vision = outputs[manifest.stagesOf(Role.VISION).single()]
        val text = rows
        if (featuresPlaced || vision == null || text == null) return
        val placed = text.copy()
        for ((view, span) in spans.withIndex()) {
            (vision[view].getValue("features") as FloatTensor).values.copyInto(placed.values, span.start * placed.rowSize)
        }
        rows = placed
        featuresPlaced = true
    }

    /** Drops the tokens of a view that a cut did not keep, and replaces the rows of the others. */
    private fun prune(name: String, view: Int, pruned: Map<String, Tensor>) {
        val places = tokens.placesOf(view)
        val kept = indices(pruned.getValue("kept"))
        checkKept(name, kept, places.size)
        val fused = pruned.getValue("fused") as FloatTensor
        val replaced = checkNotNull(rows).copy()
        val remains = BooleanArray(tokens.size) { true }
        places.forEach { remains[it] = false }
        kept.forEachIndexed { nth, index ->
            remains[places[index]] = true
            fused.copyRow(nth, replaced, places[index])
        }
        val remaining = remains.indices.filter { remains[it] }.toIntArray()
        val cells = IntArray(kept.size) { tokens.cell[places[kept[it]]] }
        selections += Selection(kept, indices(pruned.getValue("rank")), cells, earlierViews + view, name)
        rows = replaced.rows(remaining)
        tokens = tokens.select(remaining)
    }

    private fun inputs(name: String, view: Int?): Map<String, Tensor> =
        manifest.stages.getValue(name).inputs.associate { it.tensor.name to read(it.source, name, view) }

    private fun read(source: Source, name: String, view: Int?): Tensor = when (source.stage) {
        "image" -> pixels[view ?: 0]
        "prompt" -> IntegerTensor(listOf(tokens.tokenIds.size), tokens.tokenIds)
        "sequence" -> sequence(source, name, view)
        else -> stageOutput(source, view)
    }

    private fun sequence(source: Source, name: String, view: Int?): Tensor = when (source.tensor) {
        "rows" -> checkNotNull(rows)
        "positions" -> positions()
        "past_tokens" -> IntegerTensor(listOf(1), longArrayOf((pastTokens[name] ?: 0).toLong()))
        "places" -> tokens.part(source.rows, view).let { IntegerTensor(listOf(it.size), LongArray(it.size) { nth -> it[nth].toLong() }) }
        "views" -> IntegerTensor(listOf(tokens.size), LongArray(tokens.size) { tokens.view[it].toLong() })
        "deepstack" -> deepstack(name)
        else -> IntegerTensor(listOf(1), longArrayOf(tokens.size - 1L))
    }

    private fun positions(): Tensor {
        val axes = tokens.positions
        if (axes.size == 1) return IntegerTensor(listOf(tokens.size), axes.single())
        val flat = LongArray(axes.size * tokens.size)
        axes.forEachIndexed { axis, positions -> positions.copyInto(flat, axis * tokens.size) }
        return IntegerTensor(listOf(axes.size, tokens.size), flat)
    }

    /** Returns what is added to the hidden states of the tokens that are left: the rows of visual ones, and zeros. */
    private fun deepstack(name: String): Tensor {
        val vision = manifest.stagesOf(Role.VISION).single()
        val declared = manifest.stages.getValue(vision).output("deepstack")
            ?: throw EngineError(name, IllegalStateException("takes sequence.deepstack, which the vision stage does not give"))
        val sizes = declared.shape.drop(1).map { (it as Dimension.Fixed).size }
        val shape = listOf(tokens.size) + sizes
        val added = FloatTensor(shape, FloatArray(shape.fold(1, Int::times)))
        for ((view, output) in outputs[vision].orEmpty().withIndex()) {
            val given = output.getValue("deepstack") as FloatTensor
            tokens.placesOf(view).forEach { given.copyRow(tokens.cell[it], added, it) }
        }
        return added
    }

    private fun stageOutput(source: Source, view: Int?): Tensor {
        val ofStage = outputs.getValue(source.stage)
        val before = stageTokens[source.stage] ?: return ofStage[view ?: 0].getValue(source.tensor)
        val whole = ofStage.single().getValue(source.tensor)
        if (source.rows == null) return whole
        return (whole as FloatTensor).rows(before.part(source.rows, view))
    }
}

/** Returns the indices of the tokens that a source's part names, for a stage that runs for [view]. */
private fun Tokens.part(part: String?, view: Int?): IntArray = when (part) {
    "last" -> intArrayOf(size - 1)
    "visual" -> placesOf(view ?: 0)
    else -> placesOf(TEXT)
}

/** Returns the milliseconds since a reading of [System.nanoTime]. */
internal fun msSince(start: Long): Double = (System.nanoTime() - start) / 1e6

private fun indices(tensor: Tensor): IntArray = (tensor as IntegerTensor).values.let { IntArray(it.size) { nth -> it[nth].toInt() } }

private fun checkKept(stage: String, kept: IntArray, visualTokens: Int) {
    val rising = (1 until kept.size).all { kept[it - 1] < kept[it] }
    if (!rising || kept.isEmpty() || kept.first() < 0 || kept.last() >= visualTokens) {
        throw EngineError(stage, IllegalStateException("kept is not a rising list of places below $visualTokens"))
    }
}

/**
 * Returns the state after a prompt, or a part of one that goes on behind what the caches hold; [pixels] has the pixels
 * (1, 3, H, W) of each view.
 */
suspend fun prefill(
    runner: Runner,
    prompt: EncodedPrompt,
    pixels: List<FloatTensor>,
    prune: Boolean,
    behind: State? = null,
    timer: StageTimer = UNTIMED,
): State {
    val manifest = runner.bundle.manifest
    val tokens = placePrompt(manifest, prompt, behind?.nextPosition ?: 0)
    return Prefill(manifest, runner.engine, tokens, behind, timer).withViews(pixels, prompt.spans).run(manifest.stagesOfPrompt(prune))
}

/** Returns the state after more text behind what the caches hold: a further question, or one new token. */
suspend fun extend(runner: Runner, tokenIds: IntArray, state: State, timer: StageTimer = UNTIMED): State {
    val manifest = runner.bundle.manifest
    return Prefill(manifest, runner.engine, placeText(manifest, tokenIds, state.nextPosition), state, timer).run(manifest.decode)
}
