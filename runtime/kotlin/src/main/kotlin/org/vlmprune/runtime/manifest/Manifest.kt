package org.vlmprune.runtime.manifest

import org.vlmprune.runtime.BadRequest
import org.vlmprune.runtime.Size
import org.vlmprune.runtime.formatBytes

const val MANIFEST = "bundle.json"
const val MAJOR = 2
const val MINOR = 3

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

/** Tiles that the cuts prune together: all [rows] x [columns] tiles of a picture, each on the grid [grid]. */
data class Mosaic(val rows: Int, val columns: Int, val grid: Int) {
    val tiles: Int get() = rows * columns
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

/** The manifest of a bundle: all that a runner needs to know of it. The indices of mosaics count on from those of grids. */
data class Manifest(
    val name: String,
    val modelType: String,
    val target: String,
    val origin: Origin,
    val quantisation: String,
    val grids: List<Grid>,
    val mosaics: List<Mosaic>,
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

    /** Returns the index of the mosaic of so many tiles. Raises [BadRequest] if there is none. */
    fun mosaicIndex(rows: Int, columns: Int): Int {
        val nth = mosaics.indexOfFirst { it.rows == rows && it.columns == columns }
        val allowed = mosaics.joinToString(", ") { "${it.rows} x ${it.columns}" }
        if (nth < 0) throw BadRequest("the image becomes $rows x $columns tiles; allowed: $allowed")
        return grids.size + nth
    }

    /** Returns the visual tokens of a view, or of a mosaic, before the first cut and behind each, by its index. */
    fun tokensOf(index: Int): List<Int> {
        val mosaic = mosaics.getOrNull(index - grids.size)
        val grid = grids[mosaic?.grid ?: index]
        return (listOf(grid.visualTokens) + grid.keep).map { it * (mosaic?.tiles ?: 1) }
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
