package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Crop
import org.vlmprune.runtime.manifest.ImageSpec
import org.vlmprune.runtime.manifest.Move
import org.vlmprune.runtime.manifest.Pad
import org.vlmprune.runtime.manifest.Resize
import org.vlmprune.runtime.manifest.Split

/** The left, top, right and bottom edge of a rectangle, in pixels from the top left corner of a picture. */
data class Box(val left: Double, val top: Double, val right: Double, val bottom: Double)

/** What a view shows: all that is seen, one tile of it, or all of it beside the tiles. */
enum class ViewRole { ONLY, TILE, WHOLE }

/**
 * A view of a picture: [box] is where it lies in the picture, padding included, and [size] its size after
 * preprocessing. Rows and columns of tiles are counted from 0.
 */
data class View(val role: ViewRole, val box: Box, val size: Size, val row: Int? = null, val column: Int? = null)

/** Returns the views that the model sees of a picture of that size: one, or tiles row by row and then the whole. */
fun viewsOf(picture: Size, spec: ImageSpec): List<View> {
    val map = spec.moves.fold(PlaneMap(picture)) { map, move -> map.after(move) }
    val whole = map.box(0, 0, map.size.width, map.size.height)
    val split = spec.split
    val tiles = tileCorners(map.size, split)
    if (split == null || tiles.isEmpty()) return listOf(View(ViewRole.ONLY, whole, map.size))
    val side = split.tilePx
    val parts = tiles.map { (left, top) ->
        View(ViewRole.TILE, map.box(left, top, left + side, top + side), Size(side, side), top / side, left / side)
    }
    return parts + View(ViewRole.WHOLE, whole, Size(side, side))
}

/** Returns left and top of each tile, row by row; a picture of at most one tile has none. */
internal fun tileCorners(size: Size, split: Split?): List<Pair<Int, Int>> {
    if (split == null || maxOf(size.height, size.width) <= split.tilePx) return emptyList()
    return (0 until size.height step split.tilePx).flatMap { top ->
        (0 until size.width step split.tilePx).map { left -> left to top }
    }
}

/** Returns the first pixel of a centre crop, negative for a picture that is too small and is padded. */
internal fun cropStart(givenPx: Int, cropPx: Int): Int =
    if (givenPx >= cropPx) (givenPx - cropPx) / 2 else -((cropPx - givenPx) / 2)

/** Maps a position after some steps to the position in the given picture: offset + scale * position. */
private class LinearMap(val offset: Double = 0.0, val scale: Double = 1.0) {
    fun at(position: Int): Double = offset + scale * position

    fun moved(byPx: Int) = LinearMap(offset + scale * byPx, scale)

    fun scaled(givenPx: Int, resizedPx: Int) = LinearMap(offset, scale * givenPx / resizedPx)
}

/** Maps positions in the picture after some steps, whose size is [size] then, to the given picture. */
private class PlaneMap(val size: Size, private val across: LinearMap = LinearMap(), private val down: LinearMap = LinearMap()) {
    fun box(left: Int, top: Int, right: Int, bottom: Int) = Box(across.at(left), down.at(top), across.at(right), down.at(bottom))

    fun after(move: Move): PlaneMap = when (move) {
        is Pad -> centred(size.paddedSide().let { Size(it, it) }) { given, side -> -((side - given) / 2) }
        is Crop -> centred(Size(move.heightPx, move.widthPx), ::cropStart)
        is Resize -> size.resized(move.to).let {
            PlaneMap(it, across.scaled(size.width, it.width), down.scaled(size.height, it.height))
        }
    }

    private fun centred(to: Size, start: (Int, Int) -> Int) =
        PlaneMap(to, across.moved(start(size.width, to.width)), down.moved(start(size.height, to.height)))
}
