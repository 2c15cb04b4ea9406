package org.vlmprune.runtime

/**
 * What a cut kept of one view: places among the view's tokens at that cut, their order, and their cells.
 *
 * Where tiles are pruned together, the number may differ by view, and be 0; ranks are those among the tokens of all these
 * tiles.
 */
class Selection(val kept: IntArray, val rank: IntArray, val cells: IntArray, val view: Int, val cut: String)

/**
 * What a prune stage gave for a group of [visualTokens] tokens, without padding: it may keep fewer than it has rows for.
 *
 * Raises [EngineError] for an impossible count, and unless [kept] is a rising list of places.
 */
internal class Pruned(val cut: String, outputs: Map<String, Tensor>, visualTokens: Int) {
    private val count = count(outputs)
    val kept: IntArray = indices(outputs.getValue("kept"))
    val rank: IntArray = indices(outputs.getValue("rank"))
    val fused = outputs.getValue("fused") as FloatTensor

    init {
        val rising = (1 until kept.size).all { kept[it - 1] < kept[it] }
        if (!rising || kept.isEmpty() || kept.first() < 0 || kept.last() >= visualTokens) {
            throw refused("kept is not a rising list of places below $visualTokens")
        }
    }

    private fun count(outputs: Map<String, Tensor>): Int {
        val rows = outputs.getValue("kept").shape[0]
        val count = (outputs["count"] as IntegerTensor?)?.values?.first() ?: return rows
        if (count !in 1..rows) throw refused("count is $count; allowed: 1 to $rows")
        return count.toInt()
    }

    private fun indices(tensor: Tensor): IntArray = (tensor as IntegerTensor).values.let { IntArray(count) { nth -> it[nth].toInt() } }

    private fun refused(reason: String) = EngineError(cut, IllegalStateException(reason))
}

/** Returns what is kept of each view of a group, by the tokens before the cut; [earlierViews] were in the conversation before. */
internal fun Tokens.selections(group: PruneGroup, pruned: Pruned, earlierViews: Int): List<Selection> {
    val places = placesOf(group)
    var start = 0
    return group.views.map { one ->
        val mine = pruned.kept.indices.filter { view[places[pruned.kept[it]]] == one }
        fun ints(value: (Int) -> Int) = IntArray(mine.size) { value(mine[it]) }
        val before = start.also { start += places.count { view[it] == one } }
        Selection(
            ints { pruned.kept[it] - before }, ints { pruned.rank[it] }, ints { cell[places[pruned.kept[it]]] }, earlierViews + one, pruned.cut,
        )
    }
}
