package org.vlmprune.demo.bundles

import org.vlmprune.demo.Problem

/** How a bundle came to the phone; only copies of the app itself can be deleted from it. */
enum class Origin { COPIED, PUSHED, BUILT_IN }

/** The Bundles screen. Memory and space are what the phone says is free now. */
data class BundlesState(
    val entries: List<BundleEntry> = emptyList(),
    val copying: Copying? = null,
    val availableMemoryBytes: Long = 0,
    val freeSpaceBytes: Long = 0,
    val problem: Problem? = null,
)

data class BundleEntry(
    val folder: String,
    val name: String,
    val origin: Origin,
    val target: String = "",
    val quantisation: String = "",
    val method: String = "",
    val sizeBytes: Long = 0,
    val peakMemoryBytes: Long = 0,
    val problem: Problem? = null,
)

/** A copy on its way; what is there already is not copied again. */
data class Copying(val name: String, val doneBytes: Long, val totalBytes: Long?)
