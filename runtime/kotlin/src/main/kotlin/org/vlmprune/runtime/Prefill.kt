package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.Role
import org.vlmprune.runtime.manifest.Source

/** What a cut kept of one view: places among the view's tokens at that cut, their order, and their cells. */
class Selection(val kept: IntArray, val rank: IntArray, val cells: IntArray, val view: Int, val cut: String)

/** Where generation stands after a prompt or a token; [pastTokens] is how many tokens each decoder stage has cached. */
class State(
    val logits: FloatArray,
    val pastTokens: Map<String, Int>,
    val nextPosition: Long,
    val selections: List<Selection>,
) {
    /** Tokens in the fullest cache. */
    val maxPastTokens: Int get() = pastTokens.values.max()
}

/**
 * Tokens on their way through the stages, driven by the manifest: the source of each input says what a stage takes.
 *
 * [timed] is told the time of each call of a stage in milliseconds.
 */
class Prefill(
    private val manifest: Manifest,
    private val engine: Engine,
    private var tokens: Tokens,
    private val views: List<FloatTensor> = emptyList(),
    private val spans: List<Span> = emptyList(),
    past: State? = null,
    private val timed: (String, Double) -> Unit = { _, _ -> },
) {
    private val pastTokens = past?.pastTokens.orEmpty().toMutableMap()
    private val outputs = mutableMapOf<String, List<Map<String, Tensor>>>()
    private val stageTokens = mutableMapOf<String, Tokens>()
    private var rows: FloatTensor? = null
    private var featuresPlaced = false
    private val selections = past?.selections.orEmpty().toMutableList()

    /** Runs some stages in turn and returns the state after them. */
    fun run(stages: List<String>): State {
        stages.forEach(::runStage)
        val logits = outputs.getValue(stages.last()).single().getValue("logits") as FloatTensor
        return State(logits.values, pastTokens.toMap(), tokens.nextPosition, selections.toList())
    }

    private fun runStage(name: String) {
        val role = manifest.stages.getValue(name).role
        when (role) {
            Role.VISION, Role.PRUNE -> runViews(name, role)
            else -> {
                stageTokens[name] = tokens
                outputs[name] = listOf(call(name, inputs(name, null), 0))
            }
        }
        if (role == Role.EMBED) rows = output(name, "embeddings")
        if (role == Role.DECODER) {
            pastTokens[name] = (pastTokens[name] ?: 0) + tokens.size
            rows = outputs.getValue(name).single()["hidden"] as FloatTensor?
        }
        placeFeatures()
    }

    /** Runs a stage once per view; the inputs of all views are taken before any of them is pruned. */
    private fun runViews(name: String, role: Role) {
        val inputs = views.indices.map { inputs(name, it) }
        outputs[name] = inputs.mapIndexed { view, tensors -> call(name, tensors, tokens.grids[view]) }
        if (role == Role.PRUNE) outputs.getValue(name).forEachIndexed { view, pruned -> prune(name, view, pruned) }
    }

    private fun call(name: String, inputs: Map<String, Tensor>, grid: Int): Map<String, Tensor> {
        val start = System.nanoTime()
        return engine.run(name, inputs, grid).also { timed(name, (System.nanoTime() - start) / 1e6) }
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
        val places = places(view)
        val kept = indices(pruned.getValue("kept"))
        checkKept(name, kept, places.size)
        val fused = pruned.getValue("fused") as FloatTensor
        val before = checkNotNull(rows).copy()
        kept.forEachIndexed { nth, index ->
            fused.values.copyInto(before.values, places[index] * before.rowSize, nth * before.rowSize, (nth + 1) * before.rowSize)
        }
        val dropped = places.toSet() - kept.map { places[it] }.toSet()
        val remaining = (0 until tokens.size).filterNot { it in dropped }.toIntArray()
        val cells = IntArray(kept.size) { tokens.cell[places[kept[it]]] }
        selections += Selection(kept, indices(pruned.getValue("rank")), cells, view, name)
        rows = before.rows(remaining)
        tokens = tokens.select(remaining)
    }

    private fun places(view: Int): IntArray = tokens.view.indices.filter { tokens.view[it] == view }.toIntArray()

    private fun inputs(name: String, view: Int?): Map<String, Tensor> =
        manifest.stages.getValue(name).inputs.associate { it.tensor.name to read(it.source, name, view) }

    private fun read(source: Source, name: String, view: Int?): Tensor = when (source.stage) {
        "image" -> views[view ?: 0]
        "prompt" -> IntegerTensor(listOf(tokens.tokenIds.size), tokens.tokenIds)
        "sequence" -> sequence(source.tensor, name)
        else -> stageOutput(source, view)
    }

    private fun sequence(tensor: String, name: String): Tensor = when (tensor) {
        "rows" -> checkNotNull(rows)
        "positions" -> positions()
        "past_tokens" -> IntegerTensor(listOf(1), longArrayOf((pastTokens[name] ?: 0).toLong()))
        else -> IntegerTensor(listOf(1), longArrayOf(tokens.size - 1L))
    }

    private fun positions(): Tensor {
        val axes = tokens.positions
        if (axes.size == 1) return IntegerTensor(listOf(tokens.size), axes.single())
        return IntegerTensor(listOf(axes.size, tokens.size), axes.flatMap { it.toList() }.toLongArray())
    }

    private fun stageOutput(source: Source, view: Int?): Tensor {
        val ofStage = outputs.getValue(source.stage)
        val before = stageTokens[source.stage] ?: return ofStage[view ?: 0].getValue(source.tensor)
        val whole = ofStage.single().getValue(source.tensor) as FloatTensor
        return when (source.rows) {
            null -> whole
            "last" -> whole.rows(intArrayOf(whole.shape[0] - 1))
            "visual" -> whole.rows(before.view.indices.filter { before.view[it] == (view ?: 0) }.toIntArray())
            else -> whole.rows(before.view.indices.filter { before.view[it] == TEXT }.toIntArray())
        }
    }

    private fun output(stage: String, tensor: String) = outputs.getValue(stage).single().getValue(tensor) as FloatTensor
}

private fun indices(tensor: Tensor): IntArray = (tensor as IntegerTensor).values.map { it.toInt() }.toIntArray()

private fun checkKept(stage: String, kept: IntArray, visualTokens: Int) {
    val rising = kept.asList().zipWithNext().all { (before, after) -> before < after }
    if (!rising || kept.isEmpty() || kept.first() < 0 || kept.last() >= visualTokens) {
        throw EngineError(stage, IllegalStateException("kept is not a rising row of places below $visualTokens"))
    }
}

/** Returns the state after a whole prompt; [views] has the pixels (1, 3, H, W) of each span. */
fun prefill(
    manifest: Manifest,
    engine: Engine,
    prompt: EncodedPrompt,
    views: List<FloatTensor>,
    prune: Boolean,
    timed: (String, Double) -> Unit = { _, _ -> },
): State {
    val stages = manifest.prefill.filter { prune || manifest.stages.getValue(it).role != Role.PRUNE }
    return Prefill(manifest, engine, placePrompt(manifest, prompt), views, prompt.spans, timed = timed).run(stages)
}

/** Returns the state after more text behind what the caches hold: a follow-up question, or one new token. */
fun extend(
    manifest: Manifest,
    engine: Engine,
    tokenIds: IntArray,
    state: State,
    timed: (String, Double) -> Unit = { _, _ -> },
): State = Prefill(manifest, engine, placeText(manifest, tokenIds, state.nextPosition), past = state, timed = timed)
    .run(manifest.decode)
