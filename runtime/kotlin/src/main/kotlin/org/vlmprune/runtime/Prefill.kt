package org.vlmprune.runtime

import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import org.vlmprune.runtime.manifest.Dimension
import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.Role
import org.vlmprune.runtime.manifest.Source

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
            outputs[name] = listOf(call(name, inputs(name, NO_VIEWS), 0))
        }
        if (role == Role.EMBED) rows = outputs.getValue(name).single().getValue("embeddings") as FloatTensor
        if (role == Role.DECODER) {
            pastTokens[name] = (pastTokens[name] ?: 0) + tokens.size
            rows = outputs.getValue(name).single()["hidden"] as FloatTensor?
        }
        placeFeatures()
    }

    /** Runs a stage once per view, or per group of views; all inputs are read before any view is pruned. */
    private suspend fun runViews(name: String, role: Role) {
        val everyView = tokens.grids.mapIndexed { view, grid -> PruneGroup(listOf(view), grid) }
        val groups = if (role == Role.PRUNE) tokens.groups else everyView
        val inputs = groups.map { inputs(name, it) }
        val given = groups.zip(inputs) { group, tensors -> call(name, tensors, group.grid) }
        outputs[name] = given
        if (role == Role.PRUNE) groups.zip(given) { group, pruned -> prune(name, group, pruned) }
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

    /** Drops the tokens of views that a cut did not keep, and replaces the rows of the others. */
    private fun prune(name: String, group: PruneGroup, outputs: Map<String, Tensor>) {
        val places = tokens.placesOf(group)
        val pruned = Pruned(name, outputs, places.size)
        val replaced = checkNotNull(rows).copy()
        val remains = BooleanArray(tokens.size) { true }
        places.forEach { remains[it] = false }
        pruned.kept.forEachIndexed { nth, index ->
            remains[places[index]] = true
            pruned.fused.copyRow(nth, replaced, places[index])
        }
        selections += tokens.selections(group, pruned, earlierViews)
        val remaining = remains.indices.filter { remains[it] }.toIntArray()
        rows = replaced.rows(remaining)
        tokens = tokens.select(remaining)
    }

    private fun inputs(name: String, group: PruneGroup): Map<String, Tensor> =
        manifest.stages.getValue(name).inputs.associate { it.tensor.name to read(it.source, name, group) }

    /** Returns the value of a source for a stage that runs for the views of a group. */
    private fun read(source: Source, name: String, group: PruneGroup): Tensor = when (source.stage) {
        "image" -> pixels[group.views.single()]
        "prompt" -> IntegerTensor(listOf(tokens.tokenIds.size), tokens.tokenIds)
        "sequence" -> sequence(source, name, group)
        else -> stageOutput(source, group)
    }

    private fun sequence(source: Source, name: String, group: PruneGroup): Tensor = when (source.tensor) {
        "rows" -> checkNotNull(rows)
        "positions" -> positions()
        "past_tokens" -> IntegerTensor(listOf(1), longArrayOf((pastTokens[name] ?: 0).toLong()))
        "places" -> tokens.part(source.rows, group).let { IntegerTensor(listOf(it.size), LongArray(it.size) { nth -> it[nth].toLong() }) }
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

    private fun stageOutput(source: Source, group: PruneGroup): Tensor {
        val given = outputs.getValue(source.stage)
        stageTokens[source.stage]?.let { before ->
            val whole = given.single().getValue(source.tensor)
            return if (source.rows == null) whole else (whole as FloatTensor).rows(before.part(source.rows, group))
        }
        val isPruned = manifest.stages.getValue(source.stage).role == Role.PRUNE
        val calls = if (isPruned) listOf(tokens.groups.indexOf(group)) else group.views
        return calls.map { given[it].getValue(source.tensor) }.let { parts -> parts.singleOrNull() ?: stacked(parts) }
    }
}

/** What a stage that runs on the sequence runs for. */
private val NO_VIEWS = PruneGroup(emptyList(), 0)

/** Returns the indices of the tokens that a source's part names, for a stage that runs for a group of views. */
private fun Tokens.part(part: String?, group: PruneGroup): IntArray = when (part) {
    "last" -> intArrayOf(size - 1)
    "visual" -> placesOf(group)
    else -> placesOf(TEXT)
}

/** Returns the rows of tensors one behind the other. */
private fun stacked(tensors: List<Tensor>): FloatTensor {
    val parts = tensors.map { it as FloatTensor }
    val out = FloatTensor(listOf(parts.sumOf { it.shape[0] }) + parts[0].shape.drop(1), FloatArray(parts.sumOf { it.values.size }))
    var at = 0
    for (part in parts) at += part.values.copyInto(out.values, at).let { part.values.size }
    return out
}

/** Returns the milliseconds since a reading of [System.nanoTime]. */
internal fun msSince(start: Long): Double = (System.nanoTime() - start) / 1e6

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
