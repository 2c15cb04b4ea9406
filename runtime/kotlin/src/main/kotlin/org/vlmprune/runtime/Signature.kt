package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Dimension
import org.vlmprune.runtime.manifest.Dtype
import org.vlmprune.runtime.manifest.MANIFEST
import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.Role
import org.vlmprune.runtime.manifest.Source
import org.vlmprune.runtime.manifest.Stage
import org.vlmprune.runtime.manifest.TensorSpec

/** A dimension by its letter: S tokens, M tokens of a view, K kept ones, D width, V vocabulary, H and W pixels. */
private typealias Letters = List<String>

private val FIXED = mapOf(
    "image.pixels" to listOf("1", "3", "H", "W"),
    "prompt.token_ids" to listOf("S"),
    "sequence.rows" to listOf("S", "D"),
    "sequence.past_tokens" to listOf("1"),
    "sequence.last_row" to listOf("1"),
)
private val INTEGER_SOURCES = setOf(
    "prompt.token_ids", "sequence.positions", "sequence.places", "sequence.views", "sequence.past_tokens", "sequence.last_row",
)
private val OUTPUTS = mapOf(
    Role.VISION to mapOf("features" to listOf("M", "D")),
    Role.EMBED to mapOf("embeddings" to listOf("S", "D")),
    Role.DECODER to mapOf("hidden" to listOf("S", "D"), "logits" to listOf("V")),
    Role.PRUNE to mapOf(
        "kept" to listOf("K"), "fused" to listOf("K", "D"), "rank" to listOf("K"), "count" to listOf("1"),
    ),
)
private val INTEGER_OUTPUTS = setOf("kept", "rank", "count")
private val INTEGERS = setOf(Dtype.INT64, Dtype.INT32)
private val FLOATS = setOf(Dtype.FLOAT32, Dtype.FLOAT16)

/** Raises [BundleError] for the first input that its source cannot fill, or output that a runner cannot read. */
internal fun checkSignatures(manifest: Manifest) {
    for ((name, stage) in manifest.stages) {
        val sizes = manifest.knownSizes(name)
        for (input in stage.inputs) {
            val place = "stages.$name.inputs.${input.tensor.name}"
            checkDtype(place, input.tensor, whole = input.source.text in INTEGER_SOURCES)
            checkShape(place, input.tensor, manifest.lettersOf(input.source), sizes)
        }
        for (output in stage.outputs) {
            val place = "stages.$name.outputs.${output.name}"
            checkDtype(place, output, whole = output.name in INTEGER_OUTPUTS)
            checkShape(place, output, OUTPUTS.getValue(stage.role)[output.name], sizes)
        }
        checkGraphShapes(name, stage)
    }
}

/** Returns how many tokens a call brings, and how many the stage's cache holds before it; 1 and 0 without tokens. */
internal fun rowsAndPast(stage: Stage, inputs: Map<String, Tensor>): Pair<Int, Int> {
    var (rows, past) = 1 to 0
    for (input in stage.inputs) {
        val tensor = inputs[input.tensor.name] ?: continue
        val axis = input.tensor.shape.indexOf(Dimension.Tokens)
        if (axis >= 0) rows = tensor.shape[axis]
        if (input.source.text == "sequence.past_tokens") past = (tensor as IntegerTensor).values[0].toInt()
    }
    return rows to past
}

/** Raises [BadRequest] if a call of a stage would write beyond the context. */
internal fun checkCapacity(name: String, stage: Stage, inputs: Map<String, Tensor>, contextTokens: Int) {
    if (stage.cache == null) return
    val (rows, past) = rowsAndPast(stage, inputs)
    if (past + rows > contextTokens) {
        throw BadRequest("$name: ${past + rows} tokens do not fit the context of $contextTokens")
    }
}

private val Source.text: String get() = "$stage.$tensor"

/** Returns the sizes that the letters stand for in a stage, on the first grid. */
private fun Manifest.knownSizes(stage: String): Map<String, Int> {
    val grid = grids[0]
    val cut = cuts.indexOfFirst { it.stage == stage }
    val keep = if (cut < 0) emptyMap() else mapOf("K" to grid.keep[cut])
    val sizes = mapOf("D" to textModel.hiddenSize, "V" to textModel.vocabSize, "1" to 1, "3" to 3)
    return sizes + keep + mapOf("M" to grid.viewTokens, "H" to grid.heightPx, "W" to grid.widthPx)
}

private fun Manifest.lettersOf(source: Source): Letters? {
    if (source.text != "sequence.positions") return FIXED[source.text]
    return if (positions.axes == 1) listOf("S") else listOf("${positions.axes}", "S")
}

private fun checkDtype(place: String, tensor: TensorSpec, whole: Boolean) {
    val allowed = if (whole) INTEGERS else FLOATS
    if (tensor.dtype in allowed) return
    val expected = allowed.joinToString(" or ") { it.name.lowercase() }
    throw BundleError(MANIFEST, "got ${tensor.dtype.name.lowercase()}, expected $expected", "$place.dtype")
}

private fun checkShape(place: String, tensor: TensorSpec, expected: Letters?, known: Map<String, Int>) {
    if (expected == null) return
    val fits = expected.size == tensor.shape.size && expected.zip(tensor.shape).all { (letter, declared) ->
        if (letter == "S") declared == Dimension.Tokens else known[letter]?.let { declared == Dimension.Fixed(it) } ?: true
    }
    val sizes = expected.joinToString { if (it == "S") "tokens" else known[it]?.toString() ?: it }
    if (!fits) throw BundleError(MANIFEST, "got ${shapeText(tensor.shape)}, expected ($sizes)", "$place.shape")
}

/** Raises [BundleError] unless the shape in the graph is that of the tensor behind leading ones. */
private fun checkGraphShapes(name: String, stage: Stage) {
    for (tensor in stage.inputs.map { it.tensor } + stage.outputs) {
        val more = tensor.graphShape.size - tensor.shape.size
        if (more >= 0 && tensor.graphShape == List(more) { Dimension.Fixed(1) } + tensor.shape) continue
        val reason = "got ${shapeText(tensor.graphShape)}, expected ${shapeText(tensor.shape)} behind ones"
        throw BundleError(MANIFEST, reason, "stages.$name.${tensor.name}.graph_shape")
    }
}

/** Returns a shape as a message shows it, such as (tokens, 64). */
internal fun shapeText(shape: List<Dimension>): String = shape.joinToString(", ", "(", ")") {
    when (it) {
        is Dimension.Fixed -> "${it.size}"
        Dimension.Tokens -> "tokens"
        Dimension.TextTokens -> "text_tokens"
    }
}
