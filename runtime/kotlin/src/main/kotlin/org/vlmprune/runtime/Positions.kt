package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Grid
import org.vlmprune.runtime.manifest.Manifest

/** What stands for a view in tokens of text, and in those of a view that belong to no place in its picture. */
const val TEXT = -1
const val PREFIX = -2

/** Views whose tokens are pruned together, and the index of the grid or mosaic that they lie on. */
data class PruneGroup(val views: List<Int>, val grid: Int)

/**
 * S tokens: [tokenIds] as they were encoded, 0 for visual ones, and of those that are left the rest.
 *
 * [positions] has a row per axis, [view] the view that a token belongs to, [TEXT] or [PREFIX], and [cell] its place on
 * the view's grid, -1 where it has none. [nextPosition] is that of the token behind the last. [grids] is the grid of each
 * view, and [groups] are the views that are pruned together.
 */
class Tokens(
    val tokenIds: LongArray,
    val positions: List<LongArray>,
    val view: IntArray,
    val cell: IntArray,
    val nextPosition: Long,
    val grids: List<Int> = emptyList(),
    val groups: List<PruneGroup> = emptyList(),
) {
    val size: Int get() = view.size

    /** Returns the indices of the tokens of some views, or of [TEXT]. */
    fun placesOf(vararg views: Int): IntArray = view.indices.filter { view[it] in views }.toIntArray()

    fun placesOf(group: PruneGroup): IntArray = placesOf(*group.views.toIntArray())

    /** Returns the tokens at some indices; what they were encoded as is kept whole. */
    fun select(indices: IntArray) = Tokens(
        tokenIds,
        positions.map { axis -> LongArray(indices.size) { axis[indices[it]] } },
        IntArray(indices.size) { view[indices[it]] },
        IntArray(indices.size) { cell[indices[it]] },
        nextPosition,
        grids,
        groups,
    )
}

/** Returns text tokens that count on from [start] on every axis. */
fun placeText(manifest: Manifest, tokenIds: IntArray, start: Long): Tokens =
    Placing(manifest, start).apply { text(tokenIds.toList()) }.tokens(emptyList(), emptyList())

/** Returns the tokens of a prompt from position [start] on; the visual ones of each span lie on the span's grid. */
fun placePrompt(manifest: Manifest, prompt: EncodedPrompt, start: Long = 0): Tokens {
    val placing = Placing(manifest, start)
    val grids = prompt.grids
    var at = 0
    for ((nth, span) in prompt.spans.withIndex()) {
        val grid = manifest.grids[grids[nth]]
        if (span.stop - span.start != grid.viewTokens) {
            throw BadRequest("the prompt has a place of ${span.stop - span.start} visual tokens; allowed: ${grid.viewTokens}")
        }
        placing.text(prompt.tokenIds.slice(at until span.start))
        placing.view(grid, nth)
        at = span.stop
    }
    placing.text(prompt.tokenIds.drop(at))
    return placing.tokens(grids, manifest.groupsOf(prompt))
}

/** Returns the views that are pruned together: with mosaics the tiles of each picture, every other view alone. */
private fun Manifest.groupsOf(prompt: EncodedPrompt): List<PruneGroup> {
    var start = 0
    return prompt.pictures.flatMap { picture ->
        val views = picture.grids.indices.map { start + it }.also { start += it.size }
        val tiles = if (mosaics.isEmpty()) 0 else picture.rows * picture.columns
        val together = if (tiles > 0) listOf(PruneGroup(views.take(tiles), mosaicIndex(picture.rows, picture.columns))) else emptyList()
        together + views.zip(picture.grids).drop(tiles).map { (view, grid) -> PruneGroup(listOf(view), grid) }
    }
}

/** Tokens so far, and the position of the next one. */
private class Placing(private val manifest: Manifest, private var next: Long) {
    private val ids = mutableListOf<Long>()
    private val axes = List(manifest.positions.axes) { mutableListOf<Long>() }
    private val views = mutableListOf<Int>()
    private val cells = mutableListOf<Int>()

    fun text(tokenIds: List<Int>) = tokenIds.forEach { counted(it.toLong(), TEXT, -1) }

    fun view(grid: Grid, view: Int) {
        repeat(grid.prefixTokens) { counted(0, PREFIX, -1) }
        if (!manifest.positions.byGrid) return repeat(grid.visualTokens) { counted(0, view, it) }
        val start = next
        for (cell in 0 until grid.visualTokens) {
            add(0, view, cell, listOf(start, start + cell / grid.width, start + cell % grid.width))
        }
        next = start + maxOf(grid.height, grid.width)
    }

    fun tokens(grids: List<Int>, groups: List<PruneGroup>) =
        Tokens(ids.toLongArray(), axes.map { it.toLongArray() }, views.toIntArray(), cells.toIntArray(), next, grids, groups)

    private fun counted(id: Long, view: Int, cell: Int) = add(id, view, cell, List(axes.size) { next }).also { next++ }

    private fun add(id: Long, view: Int, cell: Int, position: List<Long>) {
        ids += id
        axes.forEachIndexed { axis, positions -> positions += position[axis] }
        views += view
        cells += cell
    }
}
