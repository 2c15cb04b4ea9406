package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Filter
import org.vlmprune.runtime.manifest.Kernel
import org.vlmprune.runtime.manifest.Rgb
import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.sin

private const val WEIGHT_BITS = 22

/** The given pixels that one resized pixel depends on, from [first], and their weights in 2^-22. */
private class Taps(val first: Int, val weights: IntArray) {
    val last: Int get() = first + weights.size - 1

    /** Returns the weighted sum of the bytes at the given pixels, rounded and clipped to a byte. */
    inline fun sum(pixel: (Int) -> Byte): Byte {
        var sum = 1 shl (WEIGHT_BITS - 1)
        for (nth in weights.indices) sum += weights[nth] * (pixel(first + nth).toInt() and 255)
        return (sum shr WEIGHT_BITS).coerceIn(0, 255).toByte()
    }
}

/**
 * A picture in a frame of one colour that is not stored: pixel (x, y) of it lies at ([left] + x, [top] + y) of the
 * frame. A padding may make a narrow picture 100,000 times larger.
 */
class FramedPicture(
    val picture: Picture,
    val left: Int,
    val top: Int,
    val width: Int,
    val height: Int,
    private val colour: Rgb,
) {
    /** Returns what is stored and the frame as one picture. */
    fun toPicture(): Picture = picture.cropped(-left, -top, width, height, colour)

    /**
     * Returns the framed picture resized to [size], across first and then down, each pass rounded to 8 bits; only the
     * rectangle [columns] x [rows] of the result is computed.
     *
     * The arithmetic is that of Pillow's `ImagingResample` (weights in 64 bits, then fixed-point numbers), which the
     * manifest's schema spells out.
     */
    fun resized(size: Size, kernel: Kernel, columns: IntRange, rows: IntRange): Picture {
        val across = columns.map { taps(it, width, size.width, kernel) }
        val down = rows.map { taps(it, height, size.height, kernel) }
        val needed = down.minOf { it.first }..down.maxOf { it.last }
        val stored = maxOf(needed.first, top)..minOf(needed.last, top + picture.height - 1)
        return resizedDown(resizedAcross(across, stored), stored, down)
    }

    /** Resizes those rows of the frame that hold pixels of the picture. */
    private fun resizedAcross(taps: List<Taps>, rows: IntRange): Picture {
        val out = ByteArray(3 * taps.size * rows.count())
        val line = ByteArray(3 * width) { colour[it % 3] }
        var at = 0
        for (row in rows) {
            val start = 3 * (row - top) * picture.width
            picture.rgb.copyInto(line, 3 * left, start, start + 3 * picture.width)
            for (tap in taps) {
                for (channel in 0..2) out[at++] = tap.sum { line[3 * it + channel] }
            }
        }
        return Picture(taps.size, rows.count(), out)
    }

    /** Resizes down; rows outside [stored] have the frame's colour. */
    private fun resizedDown(narrow: Picture, stored: IntRange, taps: List<Taps>): Picture {
        val rowBytes = 3 * narrow.width
        val out = ByteArray(rowBytes * taps.size)
        var at = 0
        for (tap in taps) {
            for (offset in 0 until rowBytes) {
                out[at++] = tap.sum { row ->
                    if (row in stored) narrow.rgb[(row - stored.first) * rowBytes + offset] else colour[offset % 3]
                }
            }
        }
        return Picture(narrow.width, taps.size, out)
    }
}

private operator fun Rgb.get(channel: Int): Byte = (if (channel == 0) red else if (channel == 1) green else blue).toByte()

private fun taps(index: Int, given: Int, resized: Int, kernel: Kernel): Taps {
    val scale = given.toDouble() / resized
    val centre = (index + 0.5) * scale
    if (kernel.filter == Filter.NEAREST) return Taps(floor(centre).toInt().coerceIn(0, given - 1), intArrayOf(1 shl WEIGHT_BITS))
    val stretch = if (kernel.antialias) maxOf(scale, 1.0) else 1.0
    val reach = kernel.supportPx * stretch
    val first = maxOf((centre - reach + 0.5).toInt(), 0)
    val stop = minOf((centre + reach + 0.5).toInt(), given)
    val values = DoubleArray(stop - first) { kernel.value((it + first - centre + 0.5) * (1.0 / stretch)) }
    val total = values.sum()
    return Taps(first, IntArray(values.size) { fixed(if (total == 0.0) values[it] else values[it] / total) })
}

/** Returns a weight as a fixed-point number, halves rounded away from zero. */
private fun fixed(weight: Double): Int {
    val scaled = weight * (1 shl WEIGHT_BITS)
    return (if (scaled < 0) scaled - 0.5 else scaled + 0.5).toInt()
}

private fun Kernel.value(x: Double): Double = when (filter) {
    Filter.NEAREST -> 1.0
    Filter.BILINEAR -> maxOf(0.0, 1.0 - abs(x))
    Filter.BICUBIC -> cubic(abs(x), checkNotNull(cubicA))
    Filter.LANCZOS -> if (x >= -3.0 && x < 3.0) sinc(x) * sinc(x / 3) else 0.0
}

private fun cubic(x: Double, a: Double): Double = when {
    x < 1.0 -> ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    x < 2.0 -> (((x - 5) * x + 8) * x - 4) * a
    else -> 0.0
}

private fun sinc(x: Double): Double = if (x == 0.0) 1.0 else sin(x * PI) / (x * PI)
