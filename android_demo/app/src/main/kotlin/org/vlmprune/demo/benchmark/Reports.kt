package org.vlmprune.demo.benchmark

import android.content.SharedPreferences
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.update
import org.vlmprune.demo.Problem
import org.vlmprune.demo.ProblemKind
import org.vlmprune.runtime.VlmPruneError
import org.vlmprune.runtime.benchmark.BenchmarkRecord
import org.vlmprune.runtime.benchmark.readRecord
import java.io.File
import java.io.IOException
import java.io.OutputStream

private const val BASELINE = "baseline"
private const val RECORD = ".json"
private const val PHONE = ".phone.csv"
private const val HEADER = "at_ms,resident_bytes,free_bytes,battery_fraction,charging,thermal,headroom,power_saving,low_memory"

/** The finished measurements: a record in the one schema, and beside it the phone's states, for each. */
class Reports(private val folder: File, private val preferences: SharedPreferences, private val state: MutableStateFlow<BenchmarkState>) {
    /** Reads all that are kept, the newest first; what cannot be read is left out. */
    fun read() {
        val files = folder.listFiles().orEmpty().filter { it.name.endsWith(RECORD) }.sortedByDescending { it.name }
        val reports = files.mapNotNull(::readReport)
        state.update { it.copy(reports = reports, shownId = it.shownId ?: reports.firstOrNull()?.id, baselineId = preferences.getString(BASELINE, null)) }
    }

    /** Keeps a record and shows it. */
    fun add(record: BenchmarkRecord, monitor: PhoneMonitor): Report {
        folder.mkdirs()
        val id = record.created.filter { it.isDigit() }.take(14) + "-" + System.nanoTime().toString().takeLast(6)
        File(folder, id + PHONE).writeText(phoneText(monitor.moments, monitor.disturbances))
        File(folder, id + RECORD).writeText(record.toJson())
        state.update { it.copy(shownId = id) }
        read()
        return checkNotNull(state.value.shown)
    }

    fun delete(id: String) {
        listOf(RECORD, PHONE).forEach { File(folder, id + it).delete() }
        state.update { it.copy(shownId = it.shownId.takeIf { shown -> shown != id }) }
        read()
    }

    fun setBaseline(id: String?) {
        preferences.edit().putString(BASELINE, id).apply()
        state.update { it.copy(baselineId = id) }
    }

    /** Writes a report to where a person wants it, which [open] opens; what goes wrong becomes the state. */
    fun save(id: String, format: ReportFormat, open: () -> OutputStream?) {
        val report = state.value.reports.firstOrNull { it.id == id } ?: return
        val problem = try {
            val stream = open() ?: throw IOException("the place cannot be opened")
            stream.use { it.write(report.text(format).toByteArray()) }
            null
        } catch (error: Exception) { // a provider of another app may throw anything
            Problem(ProblemKind.NOT_SAVED, error.message.orEmpty())
        }
        state.update { it.copy(problem = problem) }
    }

    private fun readReport(file: File): Report? = try {
        val id = file.name.removeSuffix(RECORD)
        val json = file.readText()
        val (moments, disturbances) = readPhone(File(folder, id + PHONE))
        report(id, readRecord(json), json).copy(moments = moments, disturbances = disturbances)
    } catch (error: IOException) {
        null
    } catch (error: VlmPruneError) {
        null
    }
}

/** Returns a record as the screen shows it, without the phone's states. */
fun report(id: String, record: BenchmarkRecord, json: String): Report {
    val result = record.results.first()
    val (slow, fast) = result.unpruned to result.pruned
    val stages = (slow.stagesMs.keys + fast.stagesMs.keys).map { StageRow(it, slow.stagesMs[it], fast.stagesMs[it]) }
    val whole = listOf(
        StageRow("ttft", slow.ttftMs, fast.ttftMs), StageRow("llm_prefill", slow.llmPrefillMs, fast.llmPrefillMs),
        StageRow("follow_up", slow.followUpMs, fast.followUpMs), StageRow("decode", slow.decodeMsPerToken, fast.decodeMsPerToken),
    )
    return Report(
        id, record.created, result.bundle.name, record.settings.repetitions,
        rows = whole.filter { it.unpruned != null } + stages,
        speedups = listOf(
            Speedup("ttft", result.ratios.ttft.median, result.ceilings?.ttft),
            Speedup("llm_prefill", result.ratios.llmPrefill.median, result.ceilings?.llmPrefill),
        ),
        prunedPeakBytes = result.memory.prunedPeakBytes, unprunedPeakBytes = result.memory.unprunedPeakBytes,
        moments = emptyList(), disturbances = emptyList(), json = json,
    )
}

private fun phoneText(moments: List<PhoneMoment>, disturbances: List<Disturbance>): String {
    val rows = moments.map { moment ->
        listOf(
            moment.atMs, moment.residentBytes, moment.freeBytes, moment.batteryFraction, moment.charging, moment.thermal, moment.headroom,
            moment.powerSaving, moment.lowMemory,
        ).joinToString(",") { it?.toString().orEmpty() }
    }
    return (listOf(disturbances.joinToString(",") { it.name }, HEADER) + rows).joinToString("\n")
}

private fun readPhone(file: File): Pair<List<PhoneMoment>, List<Disturbance>> {
    if (!file.exists()) return emptyList<PhoneMoment>() to emptyList()
    val lines = file.readLines()
    val disturbances = lines.first().split(",").mapNotNull { name -> Disturbance.entries.firstOrNull { it.name == name } }
    val moments = lines.drop(2).map { line ->
        val at = line.split(",")
        PhoneMoment(
            at[0].toLong(), at[1].toLongOrNull(), at[2].toLongOrNull(), at[3].toDoubleOrNull(), at[4].toBooleanStrictOrNull(), at[5].toIntOrNull(),
            at[6].toDoubleOrNull(), at[7].toBoolean(), at[8].toBoolean(),
        )
    }
    return moments to disturbances
}
