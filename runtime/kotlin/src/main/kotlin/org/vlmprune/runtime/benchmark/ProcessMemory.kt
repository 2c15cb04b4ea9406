package org.vlmprune.runtime.benchmark

import java.io.File
import java.io.IOException

private const val STATUS = "/proc/self/status"
private const val CLEAR_REFS = "/proc/self/clear_refs"
private const val RESET_PEAK = "5"

/** Returns the memory of this process that is resident now in bytes, null on systems without /proc. */
fun residentBytes(): Long? = statusBytes(textOf(STATUS), "VmRSS")

/** Returns the most memory that was resident since the process began or [resetPeak] was last called. */
fun peakBytes(): Long? = statusBytes(textOf(STATUS), "VmHWM")

/** Resets the peak; where the system refuses, the peak stays that of the whole process. */
fun resetPeak() {
    try {
        File(CLEAR_REFS).writeText(RESET_PEAK)
    } catch (error: IOException) {
        return
    }
}

/** Returns a size in bytes from the text of a file such as /proc/self/status. */
internal fun statusBytes(status: String, field: String): Long? =
    Regex("^$field:\\s*(\\d+) kB$", RegexOption.MULTILINE).find(status)?.let { it.groupValues[1].toLong() * 1024 }
