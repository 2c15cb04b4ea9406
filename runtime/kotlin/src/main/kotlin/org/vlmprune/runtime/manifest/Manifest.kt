package org.vlmprune.runtime.manifest

import org.vlmprune.runtime.BadRequest
import org.vlmprune.runtime.BundleError
import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Size
import org.vlmprune.runtime.commaList
import org.vlmprune.runtime.formatBytes
import org.vlmprune.runtime.parseJson
import org.vlmprune.runtime.shortRepr
import java.io.StringReader

const val MANIFEST = "bundle.json"
const val MAJOR = 2
const val MINOR = 2

/** One shape of picture that the vision stage takes, and what each cut leaves of its visual tokens. */
data class Grid(
    val height: Int,
    val width: Int,
    val heightPx: Int,
    val widthPx: Int,
    val prefixTokens: Int,
    val keep: List<Int>,
    val meanVisualTokens: Double,
    val visionFlops: Long?,
) {
    /** The tokens of one view that a cut may drop. */
    val visualTokens: Int get() = height * width

    /** All tokens that one view has in a prompt. */
    val viewTokens: Int get() = prefixTokens + visualTokens

    /** The tokens of one view that the last decoder layers see. */
    val keptTokens: Int get() = keep.lastOrNull() ?: visualTokens

    val size: Size get() = Size(heightPx, widthPx)
}

data class Cut(val stage: String, val at: String, val layer: Int)

/** How tokens are counted: [axes] is 1 or 3, and with three axes visual tokens count by row and column of [byGrid]. */
data class PositionRule(val axes: Int, val byGrid: Boolean)

/** What a run is estimated to take, in bytes. */
data class Memory(val weightsBytes: Long, val kvCacheBytes: Long, val activationsBytes: Long, val peakBytes: Long)

data class TextModel(
    val layers: Int,
    val hiddenSize: Int,
    val intermediateSize: Int,
    val attentionHeads: Int,
    val kvHeads: Int,
    val headDim: Int,
    val vocabSize: Int,
)

/** Where the weights came from. */
data class Origin(val model: String, val sha256: String?)

data class FileEntry(val sizeBytes: Long, val sha256: String)

/** The manifest of a bundle: all that a runner needs to know of it. */
data class Manifest(
    val name: String,
    val modelType: String,
    val target: String,
    val origin: Origin,
    val quantisation: String,
    val grids: List<Grid>,
    val cuts: List<Cut>,
    val positions: PositionRule,
    val stages: Map<String, Stage>,
    val prefill: List<String>,
    val decode: List<String>,
    val tokenizer: String,
    val image: ImageSpec,
    val prunedImage: ImageSpec?,
    val prompt: PromptSpec,
    val generation: GenerationSpec,
    val prunerMethod: String,
    val textModel: TextModel,
    val contextTokens: Int,
    val memory: Memory,
    val versions: Map<String, String>,
    val files: Map<String, FileEntry>,
) {
    /** Returns the names of the stages of a role, in the order in which a prompt runs through them. */
    fun stagesOf(role: Role): List<String> = prefill.filter { stages.getValue(it).role == role }

    /** All tokens that a view of each grid has in a prompt. */
    val viewTokens: List<Int> get() = grids.map { it.viewTokens }

    /** Returns the steps that prepare pictures in the pruned or the unpruned mode. */
    fun imageSteps(prune: Boolean): ImageSpec = prunedImage?.takeIf { prune } ?: image

    /** Returns the index of the grid of a view of that size. Raises [BadRequest] if no grid has it. */
    fun gridIndex(view: Size): Int = grids.indexOfFirst { it.size == view }.also { index ->
        val allowed = grids.joinToString(", ") { "${it.heightPx} x ${it.widthPx}" }
        if (index < 0) throw BadRequest("the image becomes ${view.height} x ${view.width} px; allowed: $allowed")
    }

    /**
     * Returns the stages that a prompt needs, in the order in which it runs through them.
     *
     * Pruned it needs no vision stage if the first cut stands right behind it and no stage reads what it gives.
     */
    fun stagesOfPrompt(prune: Boolean): List<String> {
        if (!prune) return prefill.filter { stages.getValue(it).role != Role.PRUNE }
        val vision = stagesOf(Role.VISION).single()
        val isRead = stages.values.any { stage -> stage.inputs.any { it.source.stage == vision } }
        val replaced = cuts.firstOrNull()?.at == "vision" && !isRead
        return prefill.filterNot { replaced && it == vision }
    }

    /** Refuses a bundle that needs more memory than there is. Raises [BadRequest] with both sizes. */
    fun checkMemory(availableBytes: Long) {
        if (memory.peakBytes <= availableBytes) return
        throw BadRequest("$name needs about ${formatBytes(memory.peakBytes)} of memory, ${formatBytes(availableBytes)} are free")
    }
}

/** Returns the manifest in a JSON text; its version is looked at before anything else. Raises [BundleError]. */
fun parseManifest(text: String): Manifest {
    val value = parseJson(StringReader(text), MANIFEST)
    if (value !is Map<*, *>) throw BundleError(MANIFEST, "is not a JSON object but ${shortRepr(value)}")
    val newer = checkVersion(value)
    val manifest = readManifest(Field(value, MANIFEST, emptyList(), lenient = newer))
    checkPipeline(manifest)
    return manifest
}

/** Returns whether the manifest's minor version is newer than [MINOR]. */
private fun checkVersion(manifest: Map<*, *>): Boolean {
    if ("schema_version" in manifest) throw BundleError(MANIFEST, OLDER, "schema_version")
    val version = manifest["schema"]
    val major = (version as? Map<*, *>)?.get("major") as? Long
    val minor = (version as? Map<*, *>)?.get("minor") as? Long
    if (major == null || minor == null) {
        throw BundleError(MANIFEST, "got ${shortRepr(version)}, expected major and minor as whole numbers", "schema")
    }
    if (major < MAJOR) throw BundleError(MANIFEST, OLDER, "schema.major")
    if (major > MAJOR) {
        val reason = "was exported by a newer vlmprune (got version $major, this runtime reads $MAJOR): update the app"
        throw BundleError(MANIFEST, reason, "schema.major")
    }
    return minor > MINOR
}

private const val JOINTLY = "names tiles that are pruned together, which this runtime does not do: export with --tiles-pruned each"
private const val OLDER = "was exported by an older vlmprune: export it again"

private fun readManifest(document: Field): Manifest = document.record { record ->
    record["schema"].record { version -> listOf(version["major"].int(), version["minor"].int(0..Int.MAX_VALUE)) }
    listOf("parity", "accuracy").forEach { record.optional(it)?.table { _, value -> value } }
    record.optional("mosaics")?.let { if (it.value != emptyList<Any>()) throw it.broken(JOINTLY) }
    record.optional("export")?.record { export -> listOf(export.optional("fit"), export.optional("options")) }
    Manifest(
        name = record["name"].text(),
        modelType = record["model_type"].text(),
        target = record["target"].choice(TARGETS),
        origin = readOrigin(record["source"]),
        quantisation = record["quantisation"].choice(QUANTISATIONS),
        grids = record["grids"].list(::readGrid),
        cuts = record["cuts"].list(::readCut),
        positions = record.optional("positions")?.let(::readPositions) ?: PositionRule(1, byGrid = false),
        stages = record["stages"].table { _, stage -> readStage(stage) },
        prefill = record["prefill"].list { it.name() },
        decode = record["decode"].list { it.name() },
        tokenizer = record.optional("tokenizer")?.fileName() ?: "tokenizer.json",
        image = readImage(record["image"]),
        prunedImage = record.optional("pruned_image")?.let(::readImage),
        prompt = readPrompt(record["prompt"]),
        generation = readGeneration(record["generation"]),
        prunerMethod = readPruner(record["pruner"]),
        textModel = readTextModel(record["text_model"]),
        contextTokens = record["context_tokens"].int(),
        memory = readMemory(record["memory"]),
        versions = record["versions"].table { _, version -> version.text() },
        files = readFiles(record["files"]),
    )
}

private fun readOrigin(field: Field): Origin = field.record { record ->
    record.optional("revision")?.text()
    Origin(record["model"].text(), record.optional("sha256")?.text(SHA256, "64 hex digits"))
}

private fun readGrid(field: Field): Grid = field.record { record ->
    Grid(
        height = record["height"].int(),
        width = record["width"].int(),
        heightPx = record["height_px"].int(),
        widthPx = record["width_px"].int(),
        prefixTokens = record.optional("prefix_tokens")?.int(0..Int.MAX_VALUE) ?: 0,
        keep = record["keep"].list { it.int() },
        meanVisualTokens = record["mean_visual_tokens"].number { it > 0 },
        visionFlops = record.optional("vision_flops")?.integer(),
    )
}

private fun readCut(field: Field): Cut = field.record { record ->
    Cut(record["stage"].name(), record["at"].choice(PLACES), record["layer"].int(0..Int.MAX_VALUE))
}

private fun readPositions(field: Field): PositionRule = field.record { record ->
    val rule = PositionRule(
        axes = record.optional("axes")?.int(1..3) ?: 1,
        byGrid = record.optional("image")?.choice(mapOf("sequence" to false, "grid" to true)) ?: false,
    )
    if (rule.axes == 2 || (rule.axes == 3) != rule.byGrid) {
        throw field.broken("positions by grid have three axes, positions in sequence one")
    }
    rule
}

private fun readPruner(field: Field): String = field.record { record ->
    record.optional("positions")?.choice(mapOf("original" to Unit))
    record["settings"].table { _, setting -> setting.value }
    record["method"].text()
}

private fun readTextModel(field: Field): TextModel = field.record { record ->
    TextModel(
        layers = record["layers"].int(),
        hiddenSize = record["hidden_size"].int(),
        intermediateSize = record["intermediate_size"].int(),
        attentionHeads = record["attention_heads"].int(),
        kvHeads = record["kv_heads"].int(),
        headDim = record["head_dim"].int(),
        vocabSize = record["vocab_size"].int(),
    )
}

private fun readMemory(field: Field): Memory = field.record { record ->
    fun bytes(name: String) = record[name].integer(Long.MIN_VALUE..Long.MAX_VALUE)
    Memory(bytes("weights_bytes"), bytes("kv_cache_bytes"), bytes("activations_bytes"), bytes("peak_bytes"))
}

private fun readFiles(field: Field): Map<String, FileEntry> = field.table { name, entry ->
    Field(name, MANIFEST, listOf("files", name), lenient = false).listedName()
    entry.record { FileEntry(it["size_bytes"].integer(0..Long.MAX_VALUE), it["sha256"].text(SHA256, "64 hex digits")) }
}

private val SHA256 = Regex("[0-9a-f]{64}")
private val TARGETS = listOf("onnx", "executorch", "coreml").associateWith { it }
private val PLACES = listOf("vision", "input", "layer").associateWith { it }

/** Refuses stages, cuts, sources and files that do not fit each other. */
private fun checkPipeline(manifest: Manifest) {
    checkOrder(manifest)
    checkCuts(manifest)
    checkPictures(manifest)
    checkSources(manifest)
    val wanted = manifest.stages.values.flatMap { it.files }.toSet() + manifest.tokenizer
    val missing = (wanted - manifest.files.keys).sorted()
    if (missing.isNotEmpty()) throw BundleError(MANIFEST, "no size and hash for ${commaList(missing)}")
}

private fun checkOrder(manifest: Manifest) = with(manifest) {
    if (prefill.sorted() != stages.keys.sorted()) throw BundleError(MANIFEST, "prefill does not name every stage once")
    stages.entries.firstOrNull { it.value.graphs.isEmpty() }
        ?.let { throw BundleError(MANIFEST, "stage ${it.key} has no graph") }
    for (role in listOf(Role.VISION, Role.EMBED)) {
        if (stagesOf(role).size != 1) throw BundleError(MANIFEST, "one stage has the role ${role.name.lowercase()}")
    }
    val running = prefill.filter { stages.getValue(it).role in setOf(Role.EMBED, Role.DECODER) }
    if (decode != running) throw BundleError(MANIFEST, "decode is not ${commaList(running)}")
    if (stages.getValue(prefill.last()).output("logits") == null) {
        throw BundleError(MANIFEST, "the last stage of prefill is no decoder that gives logits")
    }
    val first = prefill.take(2).map { stages.getValue(it).role }.toSet()
    if (first != setOf(Role.VISION, Role.EMBED)) {
        throw BundleError(MANIFEST, "prefill does not begin with the stages embed and vision")
    }
}

private fun checkCuts(manifest: Manifest) = with(manifest) {
    if (grids.isEmpty()) throw BundleError(MANIFEST, "there is no grid", "grids")
    if (cuts.map { it.stage } != stagesOf(Role.PRUNE)) {
        throw BundleError(MANIFEST, "cuts are not the prune stages in the order of prefill")
    }
    for ((index, grid) in grids.withIndex()) {
        if (grid.keep.size != cuts.size) throw BundleError(MANIFEST, "grid $index has not one number in keep per cut")
        if ((listOf(grid.visualTokens) + grid.keep).zipWithNext().any { (before, after) -> after > before }) {
            throw BundleError(MANIFEST, "a cut of grid $index keeps more tokens than there are")
        }
    }
}

/** Refuses pictures that always have the same size, which no grid has. */
private fun checkPictures(manifest: Manifest) = with(manifest) {
    val seen = image.viewSize
    if (grids.size == 1 && seen != null && seen != grids[0].size) {
        throw BundleError(MANIFEST, "images become ${seen.height} x ${seen.width} px, the grid is of another size")
    }
    val small = prunedImage?.viewSize
    if (small != null && grids.none { it.size == small }) {
        throw BundleError(MANIFEST, "pruned images become ${small.height} x ${small.width} px, which no grid has")
    }
}

private fun checkSources(manifest: Manifest) = with(manifest) {
    val outputs = mutableSetOf<Pair<String, String>>()
    for (name in prefill) {
        val stage = stages.getValue(name)
        for (input in stage.inputs) {
            if (input.source.isStageOutput && (input.source.stage to input.source.tensor) !in outputs) {
                throw BundleError(MANIFEST, "$name.${input.tensor.name} comes from a source that no stage has given by then")
            }
        }
        outputs += stage.outputs.map { name to it.name }
        stage.graphs.firstOrNull { (it.grid ?: 0) >= grids.size }
            ?.let { throw BundleError(MANIFEST, "a graph serves grid ${it.grid}; there are ${grids.size}") }
    }
}
