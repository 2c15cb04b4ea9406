package org.vlmprune.runtime.manifest

import org.vlmprune.runtime.BundleError
import org.vlmprune.runtime.Field
import org.vlmprune.runtime.parseJson
import org.vlmprune.runtime.shortRepr
import java.io.StringReader

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

private const val OLDER = "was exported by an older vlmprune: export it again"

private fun readManifest(document: Field): Manifest = document.record { record ->
    record["schema"].record { version -> listOf(version["major"].int(), version["minor"].int(0..Int.MAX_VALUE)) }
    listOf("parity", "accuracy").forEach { record.optional(it)?.table { _, value -> value } }
    record.optional("export")?.record { export -> listOf(export.optional("fit"), export.optional("options")) }
    Manifest(
        name = record["name"].text(),
        modelType = record["model_type"].text(),
        target = record["target"].choice(TARGETS),
        origin = readOrigin(record["source"]),
        quantisation = record["quantisation"].choice(QUANTISATIONS),
        grids = record["grids"].list(::readGrid),
        mosaics = record.optional("mosaics")?.list(::readMosaic).orEmpty(),
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

private fun readMosaic(field: Field): Mosaic = field.record { record ->
    Mosaic(record["rows"].int(), record["columns"].int(), record.optional("grid")?.int(0..Int.MAX_VALUE) ?: 0)
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
