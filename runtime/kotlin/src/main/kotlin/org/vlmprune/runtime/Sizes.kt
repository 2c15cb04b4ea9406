package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Target
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.sqrt

private const val MOST_TIMES_LONGER = 200
private const val MOST_PADDED_PX = 100_000

/** Height and width in pixels. */
data class Size(val height: Int, val width: Int)

/** Returns the size that a resize gives to a picture of this size. Raises [BadRequest] for a shape that is refused. */
fun Size.resized(to: Target): Size = when (to) {
    is Target.Exact -> Size(to.heightPx, to.widthPx)
    is Target.ShortestEdge -> shortestEdge(to.edgePx)
    is Target.LongestEdge -> longestEdge(to.edgePx, to.limitPx)
    is Target.SmartMultiple -> smartMultiple(to)
    is Target.NearestGrid -> nearestGrid(to)
    is Target.WholeTiles -> wholeTiles(to.tilePx)
}

/** Returns the side of the square that a picture is padded to. */
fun Size.paddedSide(): Int {
    val side = maxOf(height, width)
    if (side > MOST_PADDED_PX) {
        throw BadRequest("image is $width x $height pixels; allowed before padding: sides up to $MOST_PADDED_PX")
    }
    return side
}

private fun Size.shortestEdge(edge: Int): Size {
    val longer = (edge.toDouble() * maxOf(width, height) / minOf(width, height)).toInt()
    return if (width <= height) Size(longer, edge) else Size(edge, longer)
}

private fun Size.longestEdge(edge: Int, limit: Int): Size {
    val even = evenlyScaled(edge)
    val ratio = even.width.toDouble() / even.height
    val limited = when {
        even.width >= even.height && even.width > limit -> Size((limit / ratio).toInt(), limit)
        even.height > even.width && even.height > limit -> Size(limit, (limit * ratio).toInt())
        else -> even
    }
    return Size(maxOf(limited.height, 1), maxOf(limited.width, 1))
}

/** The longer side becomes [edge], the shorter one even. */
private fun Size.evenlyScaled(edge: Int): Size {
    val ratio = width.toDouble() / height
    val short = if (width >= height) (edge / ratio).toInt() else (edge * ratio).toInt()
    val even = maxOf(short + short % 2, 1)
    return if (width >= height) Size(even, edge) else Size(edge, even)
}

private fun Size.smartMultiple(to: Target.SmartMultiple): Size {
    if (maxOf(height, width) > MOST_TIMES_LONGER.toLong() * minOf(height, width)) {
        throw BadRequest(
            "image is $width x $height pixels; allowed: one side at most $MOST_TIMES_LONGER times the other",
        )
    }
    val multiple = to.multiplePx
    val area = height.toDouble() * width
    val high = Math.rint(height.toDouble() / multiple) * multiple
    val wide = Math.rint(width.toDouble() / multiple) * multiple
    if (high * wide > to.maxAreaPx) {
        val shrink = sqrt(area / to.maxAreaPx)
        fun side(px: Int) = maxOf(multiple, floor(px / shrink / multiple).toInt() * multiple)
        return Size(side(height), side(width))
    }
    if (high * wide < to.minAreaPx) {
        val grow = sqrt(to.minAreaPx / area)
        fun side(px: Int) = ceil(px * grow / multiple).toInt() * multiple
        return Size(side(height), side(width))
    }
    return Size(high.toInt(), wide.toInt())
}

private fun Size.nearestGrid(to: Target.NearestGrid): Size {
    fun distance(grid: Pair<Int, Int>): Double {
        val crossed = width.toLong() * grid.first to height.toLong() * grid.second
        return maxOf(crossed.first, crossed.second).toDouble() / minOf(crossed.first, crossed.second)
    }
    val (high, wide) = to.grids.minBy(::distance)
    return Size(high * to.multiplePx, wide * to.multiplePx)
}

private fun Size.wholeTiles(tile: Int): Size {
    val ratio = width.toDouble() / height
    fun whole(side: Int) = ceil(side.toDouble() / tile).toInt() * tile
    if (width >= height) {
        val wide = whole(width)
        return Size(whole((wide / ratio).toInt()), wide)
    }
    val high = whole(height)
    return Size(high, whole((high * ratio).toInt()))
}
