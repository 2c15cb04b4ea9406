package org.vlmprune.runtime.manifest

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record

enum class Role { VISION, EMBED, DECODER, PRUNE }

enum class Phase { PREFILL, DECODE, ANY }

enum class Dtype(val bytes: Int) { FLOAT32(4), FLOAT16(2), INT64(8), INT32(4), UINT8(1), INT8(1) }

enum class Padding { ZERO, LAST }

enum class CacheOwner { CALLER, GRAPH, STATE }

/** A dimension of a tensor: a number, or one that depends on the call. */
sealed interface Dimension {
    data class Fixed(val size: Int) : Dimension
    data object Tokens : Dimension
    data object TextTokens : Dimension
}

/** Where an input comes from: a stage's output or `image`, `prompt`, `sequence`; [rows] null stands for all rows. */
data class Source(val stage: String, val tensor: String, val rows: String?) {
    val isStageOutput: Boolean get() = stage !in RUNNER

    companion object {
        private val RUNNER = setOf("image", "prompt", "sequence")
        private const val RUNNER_SOURCES =
            "image\\.pixels|prompt\\.token_ids|sequence\\.(?:rows|positions|past_tokens|last_row|deepstack|views)" +
                "|sequence\\.places\\[(?:visual|text|last)]"
        private val PATTERN =
            Regex("(?:$RUNNER_SOURCES|[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*(?:\\[(?:visual|text|last)])?)")

        fun read(field: Field): Source {
            val text = field.text(PATTERN, "a source such as sequence.rows or head.keys[visual]")
            val (stage, tensor) = text.substringBefore("[").split(".")
            return Source(stage, tensor, text.substringAfter("[", "").removeSuffix("]").ifEmpty { null })
        }
    }
}

/** An input or output of a stage; [graphShape] is the shape in the graph, which may have leading ones more. */
data class TensorSpec(val name: String, val dtype: Dtype, val shape: List<Dimension>, val graphShape: List<Dimension>)

data class InputSpec(val tensor: TensorSpec, val source: Source, val padding: Padding?)

data class CacheLayer(val layer: Int, val kind: String, val windowTokens: Int?)

data class Cache(
    val owner: CacheOwner,
    val layers: List<CacheLayer>,
    val kvHeads: Int,
    val headDim: Int,
    val dtype: Dtype,
    val layout: List<String>,
    val capacityTokens: Int?,
    val inputs: List<String>,
    val outputs: List<String>,
    val states: List<String>,
)

/** One graph of a stage: a file, and in it a method or function; [tokens] and [textTokens] are its fixed lengths, if any. */
data class Graph(
    val file: String,
    val entry: String?,
    val phase: Phase,
    val tokens: Int?,
    val textTokens: Int?,
    val grid: Int?,
    val inputs: List<String>?,
)

data class Stage(
    val role: Role,
    val inputs: List<InputSpec>,
    val outputs: List<TensorSpec>,
    val graphs: List<Graph>,
    val data: List<String>,
    val cache: Cache?,
    val quantisation: String,
    val lowering: Any?,
    val computeUnits: String?,
) {
    /** Every file of the stage, each once. */
    val files: Set<String>
        get() = graphs.map { it.file }.filterNot { it.endsWith(PACKAGE_SUFFIX) }.toSet() + data

    fun output(name: String): TensorSpec? = outputs.firstOrNull { it.name == name }
}

const val PACKAGE_SUFFIX = ".mlpackage"
private val NAME = Regex("[A-Za-z][A-Za-z0-9_]{0,63}")
private val PLAIN_NAME = Regex("(?!.*\\.\\.)[A-Za-z0-9_][A-Za-z0-9_.-]*")

internal fun Field.name(): String = text(NAME, "a plain name")

internal fun Field.fileName(): String = text(PLAIN_NAME, "a plain file name")

/** A plain file name, or the path of a file inside a folder that ends in `.mlpackage`. */
internal fun Field.listedName(): String {
    val parts = text().split("/")
    val inPackage = parts.size > 1 && parts[0].endsWith(PACKAGE_SUFFIX)
    val plain = if (inPackage) parts.all(PLAIN_NAME::matches) else PLAIN_NAME.matches(text())
    return if (plain) text() else throw refused("a plain file name")
}

internal inline fun <reified T : Enum<T>> Field.enumeration(): T = choice(enumValues<T>().associateBy { it.name.lowercase() })

internal fun readStage(field: Field): Stage = field.record { record ->
    val stage = Stage(
        role = record["role"].enumeration(),
        inputs = record["inputs"].list(::readInput),
        outputs = record["outputs"].list { output -> output.record(::readTensor) },
        graphs = record.optional("graphs")?.list(::readGraph).orEmpty(),
        data = record.optional("data")?.list { it.listedName() }.orEmpty(),
        cache = record.optional("cache")?.let(::readCache),
        quantisation = record.optional("quantisation")?.choice(QUANTISATIONS) ?: "none",
        lowering = record.optional("lowering")?.value,
        computeUnits = record.optional("compute_units")?.choice(COMPUTE_UNITS),
    )
    record.optional("compute_units_reason")
    stage.also { checkStage(it, field) }
}

private fun readInput(field: Field): InputSpec = field.record { record ->
    InputSpec(
        tensor = readTensor(record),
        source = Source.read(record["source"]),
        padding = record.optional("pad")?.enumeration<Padding>(),
    )
}

private fun readTensor(record: Record): TensorSpec {
    val shape = record["shape"].list(::readDimension)
    val graphShape = record.optional("graph_shape")?.list(::readDimension)
    return TensorSpec(record["name"].name(), record["dtype"].enumeration(), shape, graphShape ?: shape)
}

private fun readDimension(field: Field): Dimension = when (field.value) {
    "tokens" -> Dimension.Tokens
    "text_tokens" -> Dimension.TextTokens
    else -> Dimension.Fixed(field.int())
}

private fun readGraph(field: Field): Graph = field.record { record ->
    Graph(
        file = record["file"].fileName(),
        entry = record.optional("entry")?.name(),
        phase = record.optional("phase")?.enumeration<Phase>() ?: Phase.ANY,
        tokens = record.optional("tokens")?.int(),
        textTokens = record.optional("text_tokens")?.int(),
        grid = record.optional("grid")?.int(0..Int.MAX_VALUE),
        inputs = record.optional("inputs")?.list { it.name() },
    )
}

private fun readCache(field: Field): Cache = field.record { record ->
    Cache(
        owner = record["owner"].enumeration(),
        layers = record["layers"].list(::readCacheLayer),
        kvHeads = record["kv_heads"].int(),
        headDim = record["head_dim"].int(),
        dtype = record["dtype"].enumeration(),
        layout = record["layout"].list { it.choice(AXES) },
        capacityTokens = record.optional("capacity_tokens")?.int(),
        inputs = record.optional("inputs")?.list { it.text() }.orEmpty(),
        outputs = record.optional("outputs")?.list { it.text() }.orEmpty(),
        states = record.optional("states")?.list { it.name() }.orEmpty(),
    ).also { checkCache(it, field) }
}

private fun readCacheLayer(field: Field): CacheLayer = field.record { record ->
    CacheLayer(
        layer = record["layer"].int(0..Int.MAX_VALUE),
        kind = record.optional("kind")?.choice(LAYER_KINDS) ?: "full",
        windowTokens = record.optional("window_tokens")?.int(),
    )
}

private fun checkCache(cache: Cache, field: Field) {
    val wanted = if (cache.owner == CacheOwner.CALLER) 2 * cache.layers.size else 0
    val tensorsFit = listOf(cache.inputs, cache.outputs).all { it.size == wanted && it.toSet().size == wanted }
    val statesFit = cache.states.toSet().size == cache.states.size &&
        cache.states.size == (if (cache.owner == CacheOwner.STATE) 2 else 0)
    if (cache.layers.isEmpty()) throw field.broken("a cache needs a layer")
    if (!tensorsFit || !statesFit) throw field.broken("the names of tensors and states do not fit the owner")
    if (cache.owner != CacheOwner.CALLER && cache.capacityTokens == null) throw field.broken("needs capacity_tokens")
}

private fun checkStage(stage: Stage, field: Field) {
    for (tensors in listOf(stage.inputs.map { it.tensor.name }, stage.outputs.map { it.name })) {
        if (tensors.toSet().size < tensors.size) throw field.broken("two tensors of one side have one name")
    }
    val inputs = stage.inputs.map { it.tensor.name }.toSet()
    stage.graphs.flatMap { it.inputs.orEmpty() }.firstOrNull { it !in inputs }
        ?.let { throw field.broken("a graph takes '$it', which is no input of the stage") }
    stage.graphs.map { it.file }.filter { it.endsWith(PACKAGE_SUFFIX) && "$it/Manifest.json" !in stage.data }
        .forEach { throw field.broken("data has no $it/Manifest.json") }
    checkRole(stage, field)
}

private fun checkRole(stage: Stage, field: Field) {
    val wanted = when (stage.role) {
        Role.VISION -> listOf("features")
        Role.EMBED -> listOf("embeddings")
        Role.PRUNE -> listOf("kept", "fused", "rank")
        Role.DECODER -> emptyList()
    }
    wanted.firstOrNull { stage.output(it) == null }?.let { throw field.broken("the role needs the output '$it'") }
    if (stage.role == Role.DECODER && stage.output("hidden") == null && stage.output("logits") == null) {
        throw field.broken("role decoder needs the output 'hidden' or 'logits'")
    }
    if ((stage.role == Role.DECODER) != (stage.cache != null)) {
        throw field.broken("a decoder has a cache, any other stage has none")
    }
}

private fun choices(vararg names: String): Map<String, String> = names.associateWith { it }

internal val QUANTISATIONS = choices("none", "int8", "int4", "pal4", "8da8w", "8da4w")
private val COMPUTE_UNITS = choices("ALL", "CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY")
private val AXES = choices("layers", "batch", "kv_heads", "capacity", "head_dim")
private val LAYER_KINDS = choices("full", "sliding", "convolution")
