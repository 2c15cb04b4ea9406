package org.vlmprune.runtime

/**
 * Where a grid of [height] x [width] visual tokens lies in an upright picture of the size [picture], and what its view
 * shows. The box may reach beyond the picture where the model sees padding.
 */
data class GridArea(val box: Box, val height: Int, val width: Int, val role: ViewRole, val picture: Size) {
    /** Returns where the visual token at a place of the grid lies, in pixels of the picture. */
    fun patch(place: Int): Box {
        val (row, column) = place / width to place % width
        fun across(column: Int) = box.left + column * (box.right - box.left) / width
        fun down(row: Int) = box.top + row * (box.bottom - box.top) / height
        return Box(across(column), down(row), across(column + 1), down(row + 1))
    }
}

/** A visual token that was kept: the rank of its choice from 0, its place on the grid, and its box in the picture. */
data class ChosenPatch(val rank: Int, val place: Int, val box: Box)

/** Returns the kept tokens of a view in the order in which they were chosen. */
fun RunEvent.Pruned.chosen(): List<ChosenPatch> =
    kept.indices.sortedBy { rank[it] }.map { ChosenPatch(rank[it], kept[it], area.patch(kept[it])) }
