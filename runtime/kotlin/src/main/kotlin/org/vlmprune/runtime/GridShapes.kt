package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Dimension
import org.vlmprune.runtime.manifest.InputSpec
import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.Role
import org.vlmprune.runtime.manifest.Stage
import org.vlmprune.runtime.manifest.TensorSpec

/**
 * Returns a stage with the shapes of a graph for the grid, or behind the grids the mosaic, of that index; the manifest
 * declares those of the first grid.
 *
 * Only stages that run once per view depend on the grid: by the size of the pixels and by the rows of visual tokens.
 */
internal fun Manifest.stageOnGrid(name: String, index: Int): Stage {
    val stage = stages.getValue(name)
    if (index == 0 || stage.role !in setOf(Role.VISION, Role.PRUNE)) return stage
    val (before, after) = listOf(0, index).map { tokensAtCut(name, it) }
    val given = mapOf(before.first to after.first, tokensOfVision(0) to tokensOfVision(index))
    return stage.copy(
        inputs = stage.inputs.map { it.copy(tensor = it.tensor.reshaped(inputShape(it, given, index))) },
        outputs = stage.outputs.map { it.reshaped(it.withRows(mapOf(before.second to after.second))) },
    )
}

/** Returns the tokens of a view before and after the cut of a prune stage; a vision stage drops none. */
private fun Manifest.tokensAtCut(name: String, index: Int): Pair<Int, Int> {
    if (stages.getValue(name).role == Role.VISION) return tokensOfVision(index) to tokensOfVision(index)
    val (nth, tokens) = cuts.indexOfFirst { it.stage == name } to tokensOf(index)
    return tokens[nth] to tokens[nth + 1]
}

/** Returns how many rows the vision stage gives for a view, or for all tiles of a mosaic. */
private fun Manifest.tokensOfVision(index: Int): Int = grids.getOrNull(index)?.viewTokens ?: tokensOf(index).first()

private fun Manifest.inputShape(input: InputSpec, rows: Map<Int, Int>, index: Int): List<Dimension> {
    val shape = input.tensor.shape
    val grid = grids.getOrNull(index)
    if (input.source.stage == "image" && grid != null) {
        return shape.dropLast(2) + Dimension.Fixed(grid.heightPx) + Dimension.Fixed(grid.widthPx)
    }
    val isVisual = input.source.rows == "visual" || input.source.stage in stagesOf(Role.VISION)
    return if (isVisual) input.tensor.withRows(rows) else shape
}

/** Returns the shape with another first dimension, if [rows] has one for it. */
private fun TensorSpec.withRows(rows: Map<Int, Int>): List<Dimension> {
    val first = shape.firstOrNull() as? Dimension.Fixed ?: return shape
    return listOf(Dimension.Fixed(rows[first.size] ?: first.size)) + shape.drop(1)
}

private fun TensorSpec.reshaped(shape: List<Dimension>): TensorSpec =
    copy(shape = shape, graphShape = graphShape.take(graphShape.size - this.shape.size) + shape)
