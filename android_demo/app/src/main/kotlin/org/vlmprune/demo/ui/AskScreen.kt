package org.vlmprune.demo.ui

import androidx.compose.foundation.horizontalScroll
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.ExperimentalLayoutApi
import androidx.compose.foundation.layout.FlowRow
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxHeight
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.text.KeyboardActions
import androidx.compose.foundation.text.KeyboardOptions
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.FilledIconButton
import androidx.compose.material3.Icon
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.SegmentedButton
import androidx.compose.material3.SegmentedButtonDefaults
import androidx.compose.material3.SingleChoiceSegmentedButtonRow
import androidx.compose.material3.SuggestionChip
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.withFrameNanos
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.painterResource
import androidx.compose.ui.res.stringArrayResource
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.text.input.ImeAction
import androidx.compose.ui.text.input.KeyboardCapitalization
import androidx.compose.ui.unit.dp
import org.vlmprune.demo.ModelState
import org.vlmprune.demo.R
import org.vlmprune.demo.Screen
import org.vlmprune.demo.UiEvent
import org.vlmprune.demo.UiState
import org.vlmprune.demo.ask.AskState
import org.vlmprune.demo.ask.Mode

/** Photos beside or above the conversation about them, and the question below. */
@Composable
fun AskScreen(state: UiState, wide: Boolean, platform: Platform, on: (UiEvent) -> Unit) {
    if (wide) {
        Row(Modifier.fillMaxSize().padding(horizontal = 16.dp), Arrangement.spacedBy(16.dp)) {
            Column(Modifier.weight(1f).fillMaxHeight().verticalScroll(rememberScrollState()).padding(bottom = 16.dp)) { PhotoStage(state.ask, platform, on = on) }
            Column(Modifier.weight(1f)) {
                Column(Modifier.weight(1f).verticalScroll(rememberScrollState()), Arrangement.spacedBy(12.dp)) { Talk(state, platform, on) }
                QuestionBar(state, on)
            }
        }
    } else {
        Column(Modifier.fillMaxSize()) {
            val scroll = rememberScrollState()
            // The newest answer comes into view as it begins and as it ends, when its times are added.
            LaunchedEffect(state.ask.turns.size, state.ask.running) {
                withFrameNanos { }
                if (state.ask.turns.isNotEmpty()) scroll.animateScrollTo(scroll.maxValue)
            }
            Column(Modifier.weight(1f).verticalScroll(scroll).padding(horizontal = 16.dp), Arrangement.spacedBy(12.dp)) {
                PhotoStage(state.ask, platform, on = on)
                Talk(state, platform, on)
            }
            QuestionBar(state, on, Modifier.padding(horizontal = 16.dp))
        }
    }
}

/** What went wrong, the questions so far with their answers, and how to begin anew. */
@Composable
private fun Talk(state: UiState, platform: Platform, on: (UiEvent) -> Unit) {
    (state.model as? ModelState.Failed)?.let { ProblemCard(it.problem) }
    state.ask.problem?.let { ProblemCard(it) { on(UiEvent.DismissProblem) } }
    if (state.model == ModelState.None) NoBundle(on)
    for (turn in state.ask.turns) TurnCards(turn, platform)
    if (state.ask.turns.isNotEmpty() && !state.ask.running) {
        TextButton({ on(UiEvent.NewConversation) }, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_restart, stringResource(R.string.new_conversation)) }
    }
}

@Composable
private fun NoBundle(on: (UiEvent) -> Unit) = Panel {
    SectionTitle(stringResource(R.string.no_bundle_title))
    Text(stringResource(R.string.no_bundle_text), style = MaterialTheme.typography.bodyMedium, color = MaterialTheme.colorScheme.onSurfaceVariant)
    TextButton({ on(UiEvent.Open(Screen.BUNDLES)) }, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_bundles, stringResource(R.string.choose_bundle)) }
}

/** Suggested questions, the mode, and the question with what sends or stops it. */
@Composable
private fun QuestionBar(state: UiState, on: (UiEvent) -> Unit, modifier: Modifier = Modifier) = Column(modifier.padding(vertical = 10.dp), Arrangement.spacedBy(8.dp)) {
    val ask = state.ask
    if (ask.photos.isNotEmpty() && !ask.running && ask.question.isEmpty()) Suggestions(ask, state.canAsk(), on)
    if (ask.turns.isEmpty()) ModeChoice(ask, on)
    Row(Modifier.fillMaxWidth(), Arrangement.spacedBy(8.dp), Alignment.CenterVertically) {
        OutlinedTextField(
            ask.question, { on(UiEvent.EditQuestion(it)) }, Modifier.weight(1f), maxLines = 4, shape = MaterialTheme.shapes.large,
            label = { Text(stringResource(if (ask.turns.isEmpty()) R.string.question_hint else R.string.follow_up_hint)) },
            keyboardOptions = KeyboardOptions(KeyboardCapitalization.Sentences, imeAction = ImeAction.Send),
            keyboardActions = KeyboardActions(onSend = { if (state.canAsk()) on(UiEvent.Ask(ask.question)) }),
        )
        if (ask.running) {
            FilledIconButton({ on(UiEvent.StopAnswer) }, Modifier.size(56.dp)) { Icon(painterResource(R.drawable.ic_stop), stringResource(R.string.stop)) }
        } else {
            FilledIconButton({ on(UiEvent.Ask(ask.question)) }, Modifier.size(56.dp), state.canAsk() && ask.question.isNotBlank()) {
                Icon(painterResource(R.drawable.ic_send), stringResource(R.string.send))
            }
        }
    }
}

private fun UiState.canAsk() = model is ModelState.Ready && ask.photos.isNotEmpty() && !ask.running

@Composable
private fun Suggestions(ask: AskState, enabled: Boolean, on: (UiEvent) -> Unit) = Row(
    Modifier.fillMaxWidth().horizontalScroll(rememberScrollState()), Arrangement.spacedBy(8.dp),
) {
    for (question in stringArrayResource(if (ask.turns.isEmpty()) R.array.questions else R.array.follow_ups)) {
        SuggestionChip({ on(UiEvent.Ask(question)) }, { Text(question) }, Modifier.heightIn(min = 48.dp), enabled)
    }
}

@Composable
private fun ModeChoice(ask: AskState, on: (UiEvent) -> Unit) = SingleChoiceSegmentedButtonRow(Modifier.fillMaxWidth()) {
    val names = listOf(Mode.PRUNED to R.string.mode_pruned, Mode.UNPRUNED to R.string.mode_unpruned, Mode.BOTH to R.string.mode_both)
    names.forEachIndexed { index, (mode, name) ->
        SegmentedButton(
            ask.mode == mode, { on(UiEvent.ChooseMode(mode)) }, SegmentedButtonDefaults.itemShape(index, names.size),
            Modifier.heightIn(min = 48.dp), icon = {},
        ) { Text(stringResource(name), maxLines = 1) }
    }
}

@OptIn(ExperimentalLayoutApi::class)
@Composable
fun Wrapped(content: @Composable () -> Unit) =
    FlowRow(horizontalArrangement = Arrangement.spacedBy(8.dp), verticalArrangement = Arrangement.spacedBy(8.dp)) { content() }
