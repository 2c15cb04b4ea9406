package org.vlmprune.demo.benchmark

import org.vlmprune.demo.Problem
import org.vlmprune.runtime.benchmark.Spread

/** The Benchmark screen: what will be measured, the run that goes on, and the reports that are kept. */
data class BenchmarkState(
    val pairs: Int = 10,
    val prompt: String = "",
    val run: RunState = RunState.Idle,
    val reports: List<Report> = emptyList(),
    val shownId: String? = null,
    val baselineId: String? = null,
    val problem: Problem? = null,
) {
    val shown: Report? get() = reports.firstOrNull { it.id == shownId }

    /** The report to compare with; a report is not its own baseline. */
    val baseline: Report? get() = reports.firstOrNull { it.id == baselineId && it.id != shownId }
}

sealed interface RunState {
    data object Idle : RunState

    /** [done] of [total] runs are over; [waiting] says why the next one has not begun. */
    data class Running(val done: Int, val total: Int, val warmUp: Boolean, val pruned: Boolean, val waiting: Waiting? = null) : RunState
    data class Failed(val problem: Problem) : RunState
}

enum class Waiting { HOT, CHARGING_CHANGED }

/** A stage's times in both modes; a mode without the stage has null. */
data class StageRow(val stage: String, val unpruned: Spread?, val pruned: Spread?)

/** How many times faster: measured, and at most by the FLOPs. */
data class Speedup(val name: String, val measured: Double, val ceiling: Double?)

/** One moment of the phone during a run. */
data class PhoneMoment(
    val atMs: Long,
    val residentBytes: Long?,
    val freeBytes: Long?,
    val batteryFraction: Double?,
    val charging: Boolean?,
    val thermal: Int?,
    val headroom: Double?,
    val powerSaving: Boolean = false,
    val lowMemory: Boolean = false,
)

enum class Disturbance { WAITED_FOR_HEAT, RAN_HOT, CHARGING_CHANGED, LOW_BATTERY, POWER_SAVING, LOW_MEMORY }

/** A finished benchmark as the screen shows it; [json] is the record in the one schema, byte for byte as it is shared. */
data class Report(
    val id: String,
    val created: String,
    val bundle: String,
    val pairs: Int,
    val rows: List<StageRow>,
    val speedups: List<Speedup>,
    val prunedPeakBytes: Long?,
    val unprunedPeakBytes: Long?,
    val moments: List<PhoneMoment>,
    val disturbances: List<Disturbance>,
    val json: String,
)

/** Returns by how many per cent a row's median differs from the baseline's; negative is faster. */
fun StageRow.change(baseline: Report?, pruned: Boolean): Double? {
    val before = baseline?.rows?.firstOrNull { it.stage == stage }?.let { if (pruned) it.pruned else it.unpruned } ?: return null
    val now = (if (pruned) this.pruned else unpruned) ?: return null
    return if (before.p50 > 0) 100 * (now.p50 / before.p50 - 1) else null
}

/** A form that a report is shared and saved in. */
enum class ReportFormat(val mimeType: String) { JSON("application/json"), CSV("text/csv") }

fun Report.text(format: ReportFormat): String = if (format == ReportFormat.JSON) json else toCsv()

/** Returns the name that a file of the report begins with in the system's dialogue. */
fun Report.fileName(format: ReportFormat): String = "vlmprune-$id.${format.name.lowercase()}"

/** Returns the report as comma-separated values: one line per stage and mode. */
fun Report.toCsv(): String = buildString {
    appendLine("bundle,created,stage,mode,p50_ms,p90_ms,min_ms")
    for (row in rows) {
        for ((mode, times) in listOf("unpruned" to row.unpruned, "pruned" to row.pruned)) {
            if (times != null) appendLine("${quoted(bundle)},$created,${row.stage},$mode,${times.p50},${times.p90},${times.min}")
        }
    }
}

/** Returns a value as a cell, in quotes where it would not be one cell without. */
private fun quoted(text: String): String = if (text.none { it in ",\"\n\r" }) text else "\"" + text.replace("\"", "\"\"") + "\""
