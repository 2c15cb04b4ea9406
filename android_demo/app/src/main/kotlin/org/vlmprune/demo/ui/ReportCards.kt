package org.vlmprune.demo.ui

import androidx.annotation.StringRes
import androidx.compose.foundation.Canvas
import androidx.compose.foundation.background
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.height
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.shape.CircleShape
import androidx.compose.material3.FilledTonalButton
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.geometry.CornerRadius
import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.geometry.Size
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp
import org.vlmprune.demo.R
import org.vlmprune.demo.UiEvent
import org.vlmprune.demo.benchmark.Disturbance
import org.vlmprune.demo.benchmark.PhoneMoment
import org.vlmprune.demo.benchmark.Report
import org.vlmprune.demo.benchmark.ReportFormat
import org.vlmprune.demo.benchmark.Speedup
import org.vlmprune.demo.benchmark.StageRow
import org.vlmprune.demo.benchmark.change
import org.vlmprune.demo.benchmark.text
import org.vlmprune.runtime.benchmark.Spread
import java.time.Instant
import java.time.ZoneId
import java.time.format.DateTimeFormatter
import java.time.format.FormatStyle
import kotlin.math.abs

/** A finished measurement: how many times faster, the times as bars, the phone's state, and how to share it. */
@Composable
fun ReportCards(report: Report, baseline: Report?, platform: Platform, on: (UiEvent) -> Unit) {
    Headline(report, baseline)
    Bars(report, baseline)
    PhoneCard(report)
    Wrapped {
        for (format in ReportFormat.entries) {
            val share = stringResource(R.string.share_as, format.name)
            FilledTonalButton({ platform.share(share, report.text(format)) }, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_share, share) }
            FilledTonalButton({ platform.save(report, format) }, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_save, stringResource(R.string.save_as, format.name)) }
        }
        if (baseline != null) FilledTonalButton({ on(UiEvent.SetBaseline(null)) }, Modifier.heightIn(min = 48.dp)) { Text(stringResource(R.string.no_baseline)) }
    }
}

@Composable
private fun Headline(report: Report, baseline: Report?) = Panel(colour = MaterialTheme.colorScheme.primaryContainer) {
    val ink = MaterialTheme.colorScheme.onPrimaryContainer
    Text("${report.bundle} · ${moment(report.created)}", style = MaterialTheme.typography.labelLarge, color = ink)
    for (speedup in report.speedups) SpeedupLine(speedup, ink)
    Text(stringResource(R.string.median_of_pairs, report.pairs), style = MaterialTheme.typography.bodySmall, color = ink)
    if (baseline != null) Text(stringResource(R.string.compared_with, "${baseline.bundle} · ${moment(baseline.created)}"), style = MaterialTheme.typography.bodySmall, color = ink)
}

/** Measured against the most that is possible, as a bar within a bar. */
@Composable
private fun SpeedupLine(speedup: Speedup, ink: Color) = Column(verticalArrangement = Arrangement.spacedBy(4.dp)) {
    val name = stageName(speedup.name)?.let { stringResource(it) } ?: speedup.name
    val said = if (speedup.measured < 1) stringResource(R.string.times_slower, number(1 / speedup.measured, 2)) else
        stringResource(R.string.times_faster, number(speedup.measured, 2))
    Row(Modifier.fillMaxWidth(), Arrangement.SpaceBetween, Alignment.Bottom) {
        Column {
            Text(name, style = MaterialTheme.typography.bodyMedium, color = ink)
            Text(said, style = MaterialTheme.typography.headlineSmall, color = ink)
        }
        speedup.ceiling?.let { Text(stringResource(R.string.at_most, number(it, 2)), style = MaterialTheme.typography.labelMedium, color = ink) }
    }
    val most = maxOf(speedup.measured, speedup.ceiling ?: 1.0)
    val description = "$name: $said"
    Canvas(Modifier.fillMaxWidth().height(10.dp).semantics { contentDescription = description }) {
        val round = CornerRadius(size.height / 2)
        drawRoundRect(ink.copy(alpha = 0.16f), size = size, cornerRadius = round)
        drawRoundRect(ink, size = Size((size.width * speedup.measured / most).toFloat(), size.height), cornerRadius = round)
        speedup.ceiling?.let { drawRect(ink, Offset((size.width * it / most).toFloat() - 3.dp.toPx(), 0f), Size(3.dp.toPx(), size.height)) }
    }
}

@Composable
private fun Bars(report: Report, baseline: Report?) = Panel {
    Row(Modifier.fillMaxWidth(), Arrangement.SpaceBetween, Alignment.CenterVertically) {
        SectionTitle(stringResource(R.string.stages_title))
        Row(horizontalArrangement = Arrangement.spacedBy(12.dp)) {
            Legend(false)
            Legend(true)
        }
    }
    val most = report.rows.maxOf { row -> maxOf(row.unpruned?.p90 ?: 0.0, row.pruned?.p90 ?: 0.0) }
    for (row in report.rows) {
        Column(verticalArrangement = Arrangement.spacedBy(4.dp)) {
            Text(stageName(row.stage)?.let { stringResource(it) } ?: row.stage, style = MaterialTheme.typography.titleSmall)
            row.unpruned?.let { TimesBar(row, it, false, most, baseline) }
            row.pruned?.let { TimesBar(row, it, true, most, baseline) }
        }
    }
}

@Composable
private fun Legend(pruned: Boolean) = Row(horizontalArrangement = Arrangement.spacedBy(6.dp), verticalAlignment = Alignment.CenterVertically) {
    Box(Modifier.size(10.dp).background(modeColour(pruned), CircleShape))
    Text(stringResource(if (pruned) R.string.mode_pruned else R.string.mode_unpruned), style = MaterialTheme.typography.labelMedium)
}

/** The median as a bar, the 90th percentile as its pale end, the least time as a mark in it. */
@Composable
private fun TimesBar(row: StageRow, times: Spread, pruned: Boolean, most: Double, baseline: Report?) {
    val colour = modeColour(pruned)
    val mark = MaterialTheme.colorScheme.surfaceContainerLowest
    val text = stringResource(R.string.p50_p90_min, duration(times.p50), duration(times.p90), duration(times.min))
    val mode = stringResource(if (pruned) R.string.mode_pruned else R.string.mode_unpruned)
    Canvas(Modifier.fillMaxWidth().height(14.dp).semantics { contentDescription = "$mode: $text" }) {
        fun x(ms: Double) = (size.width * ms / most).toFloat()
        val round = CornerRadius(4.dp.toPx())
        drawRoundRect(colour.copy(alpha = 0.3f), size = Size(maxOf(x(times.p90), 3f), size.height), cornerRadius = round)
        drawRoundRect(colour, size = Size(maxOf(x(times.p50), 3f), size.height), cornerRadius = round)
        drawRect(mark, Offset(x(times.min) - 1.dp.toPx(), 0f), Size(2.dp.toPx(), size.height))
    }
    Row(Modifier.fillMaxWidth(), Arrangement.SpaceBetween) {
        Text(text, style = MaterialTheme.typography.labelSmall, color = MaterialTheme.colorScheme.onSurfaceVariant)
        row.change(baseline, pruned)?.let { Change(it) }
    }
}

@Composable
private fun Change(percent: Double) {
    val text = "${if (percent > 0) "+" else "−"}${number(abs(percent), 1)} %"
    val spoken = stringResource(if (percent > 0) R.string.change_slower else R.string.change_faster, "${number(abs(percent), 1)} %")
    val colour = if (percent > 0) MaterialTheme.colorScheme.error else MaterialTheme.colorScheme.primary
    Text(text, Modifier.semantics { contentDescription = spoken }, style = MaterialTheme.typography.labelMedium, color = colour)
}

@Composable
private fun PhoneCard(report: Report) = Panel {
    SectionTitle(stringResource(R.string.phone_title))
    val moments = report.moments
    val (slow, fast) = report.unprunedPeakBytes to report.prunedPeakBytes
    if (slow != null && fast != null) Text(stringResource(R.string.peak_of, bytes(slow), bytes(fast)), style = MaterialTheme.typography.bodyMedium)
    if (moments.isNotEmpty()) {
        Moment(R.string.moment_before, moments.first())
        Moment(R.string.moment_during, moments.maxBy { it.residentBytes ?: 0 })
        Moment(R.string.moment_after, moments.last())
    }
    val muted = MaterialTheme.colorScheme.onSurfaceVariant
    if (report.disturbances.isEmpty()) Text(stringResource(R.string.undisturbed), style = MaterialTheme.typography.bodySmall, color = muted)
    for (disturbance in report.disturbances) {
        Text(stringResource(disturbance.sentence()), style = MaterialTheme.typography.bodyMedium, color = MaterialTheme.colorScheme.tertiary)
    }
}

@Composable
private fun Moment(@StringRes name: Int, moment: PhoneMoment) {
    val parts = listOfNotNull(
        moment.residentBytes?.let { stringResource(R.string.moment_memory, bytes(it)) },
        moment.batteryFraction?.let { stringResource(R.string.moment_battery, percent(it.toFloat())) },
        if (moment.charging == true) stringResource(R.string.moment_charging) else null,
        moment.thermal?.let { stringResource(R.string.moment_thermal, it) },
        moment.headroom?.let { stringResource(R.string.moment_headroom, percent(it.toFloat())) },
    )
    Text("${stringResource(name)}: ${parts.joinToString(" · ")}", style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.onSurfaceVariant)
}

@StringRes
fun Disturbance.sentence(): Int = when (this) {
    Disturbance.WAITED_FOR_HEAT -> R.string.disturbed_waited
    Disturbance.RAN_HOT -> R.string.disturbed_hot
    Disturbance.CHARGING_CHANGED -> R.string.disturbed_charging
    Disturbance.LOW_BATTERY -> R.string.disturbed_battery
    Disturbance.POWER_SAVING -> R.string.disturbed_saving
    Disturbance.LOW_MEMORY -> R.string.disturbed_memory
}

/** Returns a moment of a record, which is in UTC, as a person of this place and language writes it. */
@Composable
fun moment(created: String): String {
    val format = DateTimeFormatter.ofLocalizedDateTime(FormatStyle.MEDIUM, FormatStyle.SHORT).withLocale(locale())
    return format.format(Instant.parse(created.replace("+00:00", "Z")).atZone(ZoneId.systemDefault()))
}
