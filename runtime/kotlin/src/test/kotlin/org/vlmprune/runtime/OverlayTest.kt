package org.vlmprune.runtime

import kotlin.test.Test
import kotlin.test.assertEquals

class OverlayTest {
    @Test
    fun `patches lie on the grid in the order of choice`() {
        val area = GridArea(Box(10.0, 0.0, 50.0, 40.0), height = 4, width = 4, ViewRole.ONLY, Size(40, 60))
        val pruned = RunEvent.Pruned(listOf(0, 5, 15), listOf(2, 0, 1), 16, image = 0, view = 0, area)
        val boxes = listOf(Box(20.0, 10.0, 30.0, 20.0), Box(40.0, 30.0, 50.0, 40.0), Box(10.0, 0.0, 20.0, 10.0))
        assertEquals(boxes, pruned.chosen().map { it.box })
        assertEquals(listOf(5, 15, 0), pruned.chosen().map { it.place })
    }
}
