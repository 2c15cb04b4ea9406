package org.vlmprune.demo.ui

import androidx.compose.foundation.background
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.height
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.layout.widthIn
import androidx.compose.foundation.selection.toggleable
import androidx.compose.foundation.shape.CircleShape
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.foundation.text.selection.SelectionContainer
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.platform.testTag
import androidx.compose.ui.res.pluralStringResource
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.Role
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.dp
import org.vlmprune.demo.R
import org.vlmprune.demo.ask.Answer
import org.vlmprune.demo.ask.Measured
import org.vlmprune.demo.ask.Phase
import org.vlmprune.demo.ask.StageTime
import org.vlmprune.demo.ask.Turn
import org.vlmprune.demo.ask.savedSeconds

/** A question and its answers; two of them stand side by side with what pruning saved. */
@Composable
fun TurnCards(turn: Turn, platform: Platform) = Column(verticalArrangement = Arrangement.spacedBy(10.dp)) {
    Row(Modifier.fillMaxWidth(), Arrangement.End) {
        Surface(
            Modifier.widthIn(max = 320.dp), RoundedCornerShape(20.dp, 20.dp, 6.dp, 20.dp), MaterialTheme.colorScheme.primary, MaterialTheme.colorScheme.onPrimary,
        ) { Text(turn.question, Modifier.padding(horizontal = 16.dp, vertical = 10.dp), style = MaterialTheme.typography.bodyLarge) }
    }
    turn.savedSeconds()?.let { Saved(it) }
    if (turn.answers.size > 1) {
        Row(horizontalArrangement = Arrangement.spacedBy(10.dp)) {
            for (answer in turn.answers) AnswerCard(turn, answer, platform, Modifier.weight(1f))
        }
    } else {
        for (answer in turn.answers) AnswerCard(turn, answer, platform, Modifier.fillMaxWidth())
    }
}

@Composable
private fun Saved(seconds: Double) = Surface(
    Modifier.fillMaxWidth(), MaterialTheme.shapes.medium, MaterialTheme.colorScheme.tertiaryContainer, MaterialTheme.colorScheme.onTertiaryContainer,
) {
    val text = if (seconds >= 0) R.string.saved_seconds else R.string.lost_seconds
    val amount = duration(1000 * kotlin.math.abs(seconds))
    Text(stringResource(text, amount), Modifier.padding(horizontal = 16.dp, vertical = 10.dp), style = MaterialTheme.typography.titleSmall)
}

@Composable
private fun AnswerCard(turn: Turn, answer: Answer, platform: Platform, modifier: Modifier) = Panel(modifier) {
    val mode = stringResource(if (answer.pruned) R.string.mode_pruned else R.string.mode_unpruned)
    Row(verticalAlignment = Alignment.CenterVertically, horizontalArrangement = Arrangement.spacedBy(8.dp)) {
        Box(Modifier.size(10.dp).background(modeColour(answer.pruned), CircleShape))
        Text(mode, style = MaterialTheme.typography.labelLarge, color = MaterialTheme.colorScheme.onSurfaceVariant)
    }
    AnswerText(answer)
    answer.measured?.let { measured ->
        Wrapped {
            Fact(stringResource(R.string.total_time, duration(measured.totalMs)), MaterialTheme.colorScheme.primaryContainer, MaterialTheme.colorScheme.onPrimaryContainer)
            Fact(stringResource(R.string.first_token, duration(measured.ttftMs)))
            Fact(pluralStringResource(R.plurals.tokens, measured.tokens, measured.tokens))
            measured.tokensPerS?.let { Fact(stringResource(R.string.tokens_per_s, number(it, 1))) }
        }
        Details(measured, modeColour(answer.pruned))
    }
    if (answer.phase is Phase.Done) Row(Modifier.fillMaxWidth(), Arrangement.End) {
        val shared = stringResource(R.string.shared_answer, turn.question, mode, answer.text)
        val title = stringResource(R.string.share_answer)
        IconAction(R.drawable.ic_copy, R.string.copy_answer) { platform.copy(answer.text) }
        IconAction(R.drawable.ic_share, R.string.share_answer) { platform.share(title, shared) }
    }
}

@Composable
private fun AnswerText(answer: Answer) {
    val muted = MaterialTheme.colorScheme.onSurfaceVariant
    when (val phase = answer.phase) {
        Phase.Waiting -> Progress(stringResource(R.string.waiting))
        is Phase.Prefilling -> Progress(stageName(phase.stage)?.let { stringResource(it) } ?: phase.stage)
        is Phase.Failed -> ProblemCard(phase.problem)
        else -> {
            // TalkBack reads the answer once it is whole, and not each redraw.
            val region = if (phase is Phase.Done) Modifier.semantics { liveRegion = LiveRegionMode.Polite } else Modifier
            SelectionContainer { Text(answer.text.ifEmpty { "…" }, region.testTag("answer"), style = MaterialTheme.typography.bodyLarge) }
            if (phase == Phase.Stopped) Text(stringResource(R.string.stopped), style = MaterialTheme.typography.labelMedium, color = muted)
            if (phase is Phase.Done && phase.cut) Text(stringResource(R.string.cut), style = MaterialTheme.typography.labelMedium, color = muted)
        }
    }
}

@Composable
private fun Progress(text: String) = Column(verticalArrangement = Arrangement.spacedBy(8.dp)) {
    Text(text, style = MaterialTheme.typography.bodyMedium, color = MaterialTheme.colorScheme.onSurfaceVariant)
    LinearProgressIndicator(Modifier.fillMaxWidth())
}

/** The times by stage and what else was measured, folded away at first. */
@Composable
private fun Details(measured: Measured, colour: Color) {
    var open by rememberSaveable { mutableStateOf(false) }
    Row(
        Modifier.fillMaxWidth().heightIn(min = 48.dp).toggleable(open, role = Role.Switch) { open = it },
        Arrangement.SpaceBetween, Alignment.CenterVertically,
    ) {
        Text(stringResource(R.string.details), Modifier.weight(1f), style = MaterialTheme.typography.labelLarge)
        Glyph(if (open) R.drawable.ic_collapse else R.drawable.ic_expand)
    }
    if (!open) return
    val most = measured.stages.maxOf { it.ms }
    for (stage in summed(measured.stages)) StageBar(stage, most, colour)
    val muted = MaterialTheme.colorScheme.onSurfaceVariant
    Text(stringResource(R.string.prompt_tokens, measured.prefilledTokens), style = MaterialTheme.typography.bodySmall, color = muted)
    measured.peakBytes?.let { Text(stringResource(R.string.peak_memory, bytes(it)), style = MaterialTheme.typography.bodySmall, color = muted) }
}

/** Returns one time for each stage, all photos together. */
private fun summed(stages: List<StageTime>): List<StageTime> =
    stages.groupBy { it.stage }.map { (stage, times) -> StageTime(stage, times.sumOf { it.ms }) }

@Composable
private fun StageBar(stage: StageTime, most: Double, colour: Color) = Column(verticalArrangement = Arrangement.spacedBy(3.dp)) {
    Row(Modifier.fillMaxWidth(), Arrangement.SpaceBetween) {
        Text(stageName(stage.stage)?.let { stringResource(it) } ?: stage.stage, style = MaterialTheme.typography.bodySmall)
        Text(duration(stage.ms), style = MaterialTheme.typography.labelMedium)
    }
    Box(Modifier.fillMaxWidth((stage.ms / most).toFloat().coerceIn(0.01f, 1f)).height(8.dp).background(colour, CircleShape))
}

/** Pruned is the app's own colour, unpruned the quiet second one, everywhere. */
@Composable
fun modeColour(pruned: Boolean): Color = if (pruned) MaterialTheme.colorScheme.primary else MaterialTheme.colorScheme.secondary
