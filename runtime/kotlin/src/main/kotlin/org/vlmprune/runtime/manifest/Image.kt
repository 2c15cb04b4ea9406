package org.vlmprune.runtime.manifest

import org.vlmprune.runtime.Field
import org.vlmprune.runtime.Record
import org.vlmprune.runtime.Size

enum class Filter { NEAREST, BILINEAR, BICUBIC, LANCZOS }

/** A separable filter with Pillow's constants; the schema says how its weights follow from them. */
data class Kernel(val filter: Filter, val supportPx: Double, val cubicA: Double?, val antialias: Boolean)

/** The size that a resize aims at. */
sealed interface Target {
    data class Exact(val heightPx: Int, val widthPx: Int) : Target
    data class ShortestEdge(val edgePx: Int) : Target
    data class LongestEdge(val edgePx: Int, val limitPx: Int) : Target
    data class SmartMultiple(val multiplePx: Int, val minAreaPx: Int, val maxAreaPx: Int) : Target
    data class NearestGrid(val multiplePx: Int, val grids: List<Pair<Int, Int>>) : Target
    data class WholeTiles(val tilePx: Int) : Target
}

/** Red, green and blue, each of 0 to 255. */
data class Rgb(val red: Int, val green: Int, val blue: Int)

/** A step that moves the pixels of the whole picture. */
sealed interface Move

data class Pad(val colour: Rgb) : Move

data class Resize(val to: Target, val kernel: Kernel) : Move

data class Crop(val heightPx: Int, val widthPx: Int, val colour: Rgb) : Move

/** Cuts the picture into square tiles, row by row, and adds the whole picture, resized to one tile, as the last. */
data class Split(val tilePx: Int, val kernel: Kernel)

/** How a picture becomes pixels: [moves] in order, perhaps tiles, then values * [factor], less [mean], over [std]. */
data class ImageSpec(
    val moves: List<Move>,
    val split: Split?,
    val factor: Float,
    val mean: List<Float>,
    val std: List<Float>,
) {
    /** The size of every view after preprocessing, null if it depends on the picture. */
    val viewSize: Size?
        get() {
            if (split != null) return Size(split.tilePx, split.tilePx)
            return moves.fold(KnownSize(null, square = false)) { known, move -> known.after(move) }.size
        }
}

/** A size that all pictures have, null if they differ, and whether they all are square. */
private class KnownSize(val size: Size?, private val square: Boolean) {
    fun after(move: Move): KnownSize {
        val size = when (move) {
            is Crop -> Size(move.heightPx, move.widthPx)
            is Pad -> size?.let { maxOf(it.height, it.width) }?.let { Size(it, it) }
            is Resize -> resized(move.to)
        }
        return KnownSize(size, move is Pad || (size != null && size.height == size.width))
    }

    private fun resized(to: Target): Size? = when {
        to is Target.Exact -> Size(to.heightPx, to.widthPx)
        to is Target.NearestGrid && to.grids.size == 1 ->
            to.grids.single().let { (high, wide) -> Size(high * to.multiplePx, wide * to.multiplePx) }
        to is Target.ShortestEdge && square -> Size(to.edgePx, to.edgePx)
        else -> null
    }
}

internal fun readImage(field: Field): ImageSpec = field.record { record ->
    val steps = record["steps"].list { step -> readStep(step) }
    val names = steps.map { it.name }
    val split = steps.mapNotNull { it.value as? Split }
    val moves = steps.mapNotNull { it.value as? Move }
    val moved = names.filter { it in MOVES }
    if (names != listOf("orient", "colour") + moved + List(split.size) { "split" } + ENDING || split.size > 1) {
        throw record["steps"].broken("steps are out of order or missing")
    }
    val (mean, std) = steps.firstNotNullOf { it.value as? Normalise }
    ImageSpec(moves, split.firstOrNull(), steps.firstNotNullOf { it.value as? Float }, mean, std)
}

private val MOVES = setOf("pad", "resize", "crop")
private val ENDING = listOf("rescale", "normalise", "layout")

private class Step(val name: String, val value: Any?)

private data class Normalise(val mean: List<Float>, val std: List<Float>)

private fun readStep(field: Field): Step = field.record { record ->
    val name = record["step"].text()
    Step(name, readStepValue(name, record, field))
}

private fun readStepValue(name: String, record: Record, field: Field): Any? = when (name) {
    "orient" -> record.constants("exif_tag" to 274L)
    "colour" -> record.constants("space" to "rgb", "background" to listOf(255L, 255L, 255L), "icc_profile" to "ignored")
    "pad" -> Pad(readRgb(record["colour"])).also { record.constants("to" to "square", "position" to "centre") }
    "resize" -> Resize(readTarget(record["to"]), readKernel(record["kernel"]))
    "crop" -> Crop(record["height_px"].int(), record["width_px"].int(), record.optional("colour")?.let(::readRgb) ?: BLACK)
        .also { record.constants("position" to "centre") }
    "split" -> Split(record["tile_px"].int(), readKernel(record["kernel"])).also { record.constants("whole" to "last") }
    "rescale" -> record["factor"].number().toFloat()
    "normalise" -> Normalise(readThree(record["mean"]) { true }, readThree(record["std"]) { it > 0 })
    "layout" -> record.constants("order" to "chw", "dtype" to "float32")
    else -> throw field.refused("a known step")
}

private val BLACK = Rgb(0, 0, 0)

/** Refuses a field whose value is not the only one that this version knows. */
private fun Record.constants(vararg known: Pair<String, Any>) {
    for ((name, value) in known) {
        optional(name)?.let { if (it.value != value) throw it.refused("$value") }
    }
}

private fun readRgb(field: Field): Rgb {
    val parts = field.list { it.int(0..255) }
    if (parts.size != 3) throw field.refused("three bytes")
    return Rgb(parts[0], parts[1], parts[2])
}

private fun readThree(field: Field, accepts: (Double) -> Boolean): List<Float> {
    val parts = field.list { it.number(accepts).toFloat() }
    return if (parts.size == 3) parts else throw field.refused("three numbers")
}

private fun readKernel(field: Field): Kernel = field.record { record ->
    record.constants("weight_bits" to 22L, "passes" to listOf("horizontal", "vertical"), "between_passes" to "uint8")
    val kernel = Kernel(
        filter = record["filter"].enumeration(),
        supportPx = record["support_px"].number(),
        cubicA = record.optional("cubic_a")?.number(),
        antialias = record["antialias"].flag(),
    )
    if (kernel != KERNELS.getValue(kernel.filter)) throw field.broken("the constants are not those of the filter")
    kernel
}

private val KERNELS = listOf(
    Kernel(Filter.NEAREST, 0.0, null, false),
    Kernel(Filter.BILINEAR, 1.0, null, true),
    Kernel(Filter.BICUBIC, 2.0, -0.5, true),
    Kernel(Filter.LANCZOS, 3.0, null, true),
).associateBy { it.filter }

private fun readTarget(field: Field): Target = field.record { record ->
    when (record["mode"].text()) {
        "exact" -> Target.Exact(record["height_px"].int(), record["width_px"].int())
        "shortest_edge" -> Target.ShortestEdge(record["edge_px"].int())
        "longest_edge" -> Target.LongestEdge(record["edge_px"].int(), record["limit_px"].int())
        "smart_multiple" -> Target.SmartMultiple(
            record["multiple_px"].int(),
            record["min_area_px"].int(),
            record["max_area_px"].int(),
        )
        "nearest_grid" -> Target.NearestGrid(record["multiple_px"].int(), record["grids"].list(::readGridShape))
            .also { if (it.grids.isEmpty()) throw record["grids"].refused("at least one grid") }
        "whole_tiles" -> Target.WholeTiles(record["tile_px"].int())
        else -> throw record["mode"].refused("a known mode")
    }
}

private fun readGridShape(field: Field): Pair<Int, Int> {
    val sides = field.list { it.int() }
    return if (sides.size == 2) sides[0] to sides[1] else throw field.refused("height and width")
}
