package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Dimension
import org.vlmprune.runtime.manifest.Grid
import org.vlmprune.runtime.manifest.InputSpec
import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.Role
import org.vlmprune.runtime.manifest.Stage
import org.vlmprune.runtime.manifest.TensorSpec

/**
 * Returns a stage with the shapes of a graph for the grid of that index; the manifest declares those of the first grid.
 *
 * Only stages that run once per view depend on the grid: by the size of the pixels and by the rows of visual tokens.
 */
internal fun Manifest.stageOnGrid(name: String, index: Int): Stage {
    val stage = stages.getValue(name)
    if (index == 0 || stage.role !in setOf(Role.VISION, Role.PRUNE)) return stage
    val (first, grid) = grids[0] to grids[index]
    val (before, after) = listOf(first, grid).map { tokensAtCut(name, it) }
    val given = mapOf(before.first to after.first, first.viewTokens to grid.viewTokens)
    return stage.copy(
        inputs = stage.inputs.map { it.copy(tensor = it.tensor.reshaped(inputShape(it, given, grid))) },
        outputs = stage.outputs.map { it.reshaped(it.withRows(mapOf(before.second to after.second))) },
    )
}

/** Returns the tokens of a view before and after the cut of a prune stage; a vision stage drops none. */
private fun Manifest.tokensAtCut(name: String, grid: Grid): Pair<Int, Int> {
    if (stages.getValue(name).role == Role.VISION) return grid.viewTokens to grid.viewTokens
    val nth = cuts.indexOfFirst { it.stage == name }
    return (listOf(grid.visualTokens) + grid.keep)[nth] to grid.keep[nth]
}

private fun Manifest.inputShape(input: InputSpec, rows: Map<Int, Int>, grid: Grid): List<Dimension> {
    val shape = input.tensor.shape
    if (input.source.stage == "image") {
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
