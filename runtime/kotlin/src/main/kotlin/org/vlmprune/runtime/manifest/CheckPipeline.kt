package org.vlmprune.runtime.manifest

import org.vlmprune.runtime.BundleError
import org.vlmprune.runtime.commaList

/** Refuses stages, cuts, sources and files that do not fit each other. */
internal fun checkPipeline(manifest: Manifest) {
    checkOrder(manifest)
    checkCuts(manifest)
    checkMosaics(manifest)
    checkPictures(manifest)
    checkSources(manifest)
    val wanted = manifest.stages.values.flatMap { it.files }.toSet() + manifest.tokenizer
    val missing = (wanted - manifest.files.keys).sorted()
    if (missing.isNotEmpty()) throw BundleError(MANIFEST, "no size and hash for ${commaList(missing)}")
}

private fun checkOrder(manifest: Manifest) = with(manifest) {
    if (prefill.sorted() != stages.keys.sorted()) throw BundleError(MANIFEST, "prefill does not name every stage once")
    stages.entries.firstOrNull { it.value.graphs.isEmpty() }
        ?.let { throw BundleError(MANIFEST, "stage ${it.key} has no graph") }
    for (role in listOf(Role.VISION, Role.EMBED)) {
        if (stagesOf(role).size != 1) throw BundleError(MANIFEST, "one stage has the role ${role.name.lowercase()}")
    }
    val running = prefill.filter { stages.getValue(it).role in setOf(Role.EMBED, Role.DECODER) }
    if (decode != running) throw BundleError(MANIFEST, "decode is not ${commaList(running)}")
    if (stages.getValue(prefill.last()).output("logits") == null) {
        throw BundleError(MANIFEST, "the last stage of prefill is no decoder that gives logits")
    }
    val first = prefill.take(2).map { stages.getValue(it).role }.toSet()
    if (first != setOf(Role.VISION, Role.EMBED)) {
        throw BundleError(MANIFEST, "prefill does not begin with the stages embed and vision")
    }
}

private fun checkCuts(manifest: Manifest) = with(manifest) {
    if (grids.isEmpty()) throw BundleError(MANIFEST, "there is no grid", "grids")
    if (cuts.map { it.stage } != stagesOf(Role.PRUNE)) {
        throw BundleError(MANIFEST, "cuts are not the prune stages in the order of prefill")
    }
    for ((index, grid) in grids.withIndex()) {
        if (grid.keep.size != cuts.size) throw BundleError(MANIFEST, "grid $index has not one number in keep per cut")
        if ((listOf(grid.visualTokens) + grid.keep).zipWithNext().any { (before, after) -> after > before }) {
            throw BundleError(MANIFEST, "a cut of grid $index keeps more tokens than there are")
        }
    }
}

private fun checkMosaics(manifest: Manifest) = with(manifest) {
    if (mosaics.distinctBy { it.rows to it.columns }.size < mosaics.size) {
        throw BundleError(MANIFEST, "two mosaics have as many rows and columns")
    }
    if (mosaics.any { it.grid >= grids.size }) {
        throw BundleError(MANIFEST, "a mosaic is of tiles on a grid that is not there; there are ${grids.size}")
    }
}

/** Refuses pictures that always have the same size, which no grid has. */
private fun checkPictures(manifest: Manifest) = with(manifest) {
    val seen = image.viewSize
    if (grids.size == 1 && seen != null && seen != grids[0].size) {
        throw BundleError(MANIFEST, "images become ${seen.height} x ${seen.width} px, the grid is of another size")
    }
    val small = prunedImage?.viewSize
    if (small != null && grids.none { it.size == small }) {
        throw BundleError(MANIFEST, "pruned images become ${small.height} x ${small.width} px, which no grid has")
    }
}

private fun checkSources(manifest: Manifest) = with(manifest) {
    val outputs = mutableSetOf<Pair<String, String>>()
    for (name in prefill) {
        val stage = stages.getValue(name)
        for (input in stage.inputs) {
            if (input.source.isStageOutput && (input.source.stage to input.source.tensor) !in outputs) {
                throw BundleError(MANIFEST, "$name.${input.tensor.name} comes from a source that no stage has given by then")
            }
        }
        outputs += stage.outputs.map { name to it.name }
        val shapes = grids.size + mosaics.size
        stage.graphs.firstOrNull { (it.grid ?: 0) >= shapes }
            ?.let { throw BundleError(MANIFEST, "a graph serves grid ${it.grid}; there are $shapes") }
    }
}
