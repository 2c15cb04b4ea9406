package org.vlmprune.demo.ui

import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxHeight
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.FilterChip
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.stringArrayResource
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp
import org.vlmprune.demo.ModelState
import org.vlmprune.demo.R
import org.vlmprune.demo.UiEvent
import org.vlmprune.demo.UiState
import org.vlmprune.demo.benchmark.BenchmarkState
import org.vlmprune.demo.benchmark.RunState
import org.vlmprune.demo.benchmark.Waiting

private val PAIRS = listOf(3, 10, 30)

/** What to measure and how far it is, beside or above the report that is shown and the earlier ones. */
@Composable
fun BenchmarkScreen(state: UiState, wide: Boolean, platform: Platform, on: (UiEvent) -> Unit) {
    if (wide) {
        Row(Modifier.fillMaxSize().padding(horizontal = 16.dp), Arrangement.spacedBy(16.dp)) {
            Pane(Modifier.weight(1f).fillMaxHeight()) { Setup(state, on) }
            Pane(Modifier.weight(1.4f).fillMaxHeight()) { Results(state.benchmark, platform, on) }
        }
    } else {
        Pane(Modifier.fillMaxSize().padding(horizontal = 16.dp)) {
            Setup(state, on)
            Results(state.benchmark, platform, on)
        }
    }
}

@Composable
private fun Pane(modifier: Modifier, content: @Composable () -> Unit) =
    Column(modifier.verticalScroll(rememberScrollState()).padding(bottom = 16.dp), Arrangement.spacedBy(12.dp)) { content() }

@Composable
private fun Setup(state: UiState, on: (UiEvent) -> Unit) {
    when (val run = state.benchmark.run) {
        is RunState.Running -> Running(run, on)
        is RunState.Failed -> {
            ProblemCard(run.problem) { on(UiEvent.DismissProblem) }
            Settings(state, on)
        }
        RunState.Idle -> Settings(state, on)
    }
}

@Composable
private fun Settings(state: UiState, on: (UiEvent) -> Unit) = Panel {
    val muted = MaterialTheme.colorScheme.onSurfaceVariant
    val benchmark = state.benchmark
    Text(stringResource(R.string.benchmark_intro), style = MaterialTheme.typography.bodyMedium, color = muted)
    Wrapped {
        for (pairs in PAIRS) {
            FilterChip(benchmark.pairs == pairs, { on(UiEvent.SetPairs(pairs)) }, { Text(stringResource(R.string.pairs, pairs)) }, Modifier.heightIn(min = 48.dp))
        }
    }
    OutlinedTextField(
        benchmark.prompt, { on(UiEvent.SetBenchmarkPrompt(it)) }, Modifier.fillMaxWidth(), label = { Text(stringResource(R.string.benchmark_prompt)) },
        placeholder = { Text(stringArrayResource(R.array.questions).first()) }, shape = MaterialTheme.shapes.large, maxLines = 3,
    )
    Text(stringResource(R.string.benchmark_photo), style = MaterialTheme.typography.bodySmall, color = muted)
    Button({ on(UiEvent.StartBenchmark) }, Modifier.fillMaxWidth().heightIn(min = 52.dp), enabled = state.model is ModelState.Ready) { Text(stringResource(R.string.start)) }
}

@Composable
private fun Running(run: RunState.Running, on: (UiEvent) -> Unit) = Panel {
    val words = if (run.warmUp) R.string.warm_up_run else R.string.measured_run
    Row(Modifier.fillMaxWidth(), Arrangement.SpaceBetween, Alignment.CenterVertically) {
        Text(stringResource(words, minOf(run.done + 1, run.total), run.total), style = MaterialTheme.typography.titleMedium)
        Fact(stringResource(if (run.pruned) R.string.mode_pruned else R.string.mode_unpruned))
    }
    LinearProgressIndicator({ run.done / run.total.toFloat() }, Modifier.fillMaxWidth())
    run.waiting?.let { reason ->
        val text = if (reason == Waiting.HOT) R.string.waiting_hot else R.string.waiting_charging
        Text(stringResource(text), style = MaterialTheme.typography.bodyMedium, color = MaterialTheme.colorScheme.tertiary)
    }
    Button({ on(UiEvent.StopBenchmark) }, Modifier.fillMaxWidth().heightIn(min = 52.dp)) { Labelled(R.drawable.ic_stop, stringResource(R.string.stop)) }
}

@Composable
private fun Results(benchmark: BenchmarkState, platform: Platform, on: (UiEvent) -> Unit) {
    benchmark.shown?.let { ReportCards(it, benchmark.baseline, platform, on) }
    benchmark.problem?.let { ProblemCard(it) { on(UiEvent.DismissProblem) } }
    if (benchmark.reports.isNotEmpty()) History(benchmark, on)
}

@Composable
private fun History(benchmark: BenchmarkState, on: (UiEvent) -> Unit) = Panel(colour = MaterialTheme.colorScheme.surfaceContainerLow) {
    SectionTitle(stringResource(R.string.history))
    for (report in benchmark.reports) {
        Row(Modifier.fillMaxWidth(), Arrangement.spacedBy(4.dp), Alignment.CenterVertically) {
            FilterChip(
                report.id == benchmark.shownId, { on(UiEvent.ShowReport(report.id)) },
                { Text("${report.bundle}\n${moment(report.created)}", Modifier.padding(vertical = 6.dp)) }, Modifier.weight(1f).heightIn(min = 48.dp),
            )
            val isBaseline = report.id == benchmark.baselineId
            FilterChip(
                isBaseline, { on(UiEvent.SetBaseline(report.id.takeIf { !isBaseline })) }, { Text(stringResource(R.string.compare_with)) }, Modifier.heightIn(min = 48.dp),
            )
            IconAction(R.drawable.ic_delete, R.string.delete_report) { on(UiEvent.DeleteReport(report.id)) }
        }
    }
}
