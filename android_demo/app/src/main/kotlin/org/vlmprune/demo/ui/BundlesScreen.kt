package org.vlmprune.demo.ui

import androidx.annotation.StringRes
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.widthIn
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.FilledTonalButton
import androidx.compose.material3.Icon
import androidx.compose.material3.IconButton
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.res.painterResource
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp
import org.vlmprune.demo.ModelState
import org.vlmprune.demo.R
import org.vlmprune.demo.UiEvent
import org.vlmprune.demo.UiState
import org.vlmprune.demo.bundles.BundleEntry
import org.vlmprune.demo.bundles.Copying
import org.vlmprune.demo.bundles.Origin

/** The bundles on the phone, what each needs, and the ways to add one. */
@Composable
fun BundlesScreen(state: UiState, platform: Platform, on: (UiEvent) -> Unit) = Column(
    Modifier.fillMaxSize().verticalScroll(rememberScrollState()).padding(horizontal = 16.dp).padding(bottom = 16.dp),
    Arrangement.spacedBy(12.dp), Alignment.CenterHorizontally,
) {
    val bundles = state.bundles
    Column(Modifier.widthIn(max = 720.dp), Arrangement.spacedBy(12.dp)) {
        bundles.problem?.let { ProblemCard(it) { on(UiEvent.DismissProblem) } }
        bundles.copying?.let { CopyCard(it, on) }
        if (bundles.entries.isEmpty() && bundles.copying == null) Nothing()
        for (entry in bundles.entries) BundleCard(entry, state, on)
        AddCard(state, platform)
    }
}

@Composable
private fun Nothing() = Panel(colour = MaterialTheme.colorScheme.surfaceContainerLow) {
    Column(Modifier.fillMaxWidth().padding(vertical = 16.dp), Arrangement.spacedBy(12.dp), Alignment.CenterHorizontally) {
        Emblem(R.drawable.ic_bundles)
        Text(stringResource(R.string.no_bundles_yet), style = MaterialTheme.typography.titleMedium)
    }
}

@Composable
private fun BundleCard(entry: BundleEntry, state: UiState, on: (UiEvent) -> Unit) = Panel {
    val shown = state.model
    Row(verticalAlignment = Alignment.CenterVertically) {
        Column(Modifier.weight(1f)) {
            SectionTitle(entry.name)
            val facts = listOf(entry.target, entry.quantisation, entry.method, stringResource(entry.origin.label())).filter { it.isNotEmpty() }
            Text(facts.joinToString(" · "), style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.onSurfaceVariant)
        }
        if (entry.origin == Origin.COPIED) {
            IconButton({ on(UiEvent.DeleteBundle(entry.folder)) }) { Icon(painterResource(R.drawable.ic_delete), stringResource(R.string.delete_bundle, entry.name)) }
        }
    }
    val problem = entry.problem
    if (problem != null) {
        ProblemCard(problem)
    } else {
        Wrapped {
            Fact(stringResource(R.string.bundle_size, bytes(entry.sizeBytes)))
            Fact(stringResource(R.string.bundle_memory, bytes(entry.peakMemoryBytes)))
        }
        if (shown is ModelState.Failed && shown.name == entry.name) ProblemCard(shown.problem)
        Use(entry, state, on)
    }
}

@Composable
private fun Use(entry: BundleEntry, state: UiState, on: (UiEvent) -> Unit) {
    val shown = state.model
    val used = shown is ModelState.Ready && shown.model.folder == entry.folder
    val fits = entry.peakMemoryBytes <= state.bundles.availableMemoryBytes
    when {
        shown is ModelState.Preparing && shown.name == entry.name -> {
            val fraction = shown.fraction
            Text(modelText(shown), style = MaterialTheme.typography.bodyMedium)
            if (fraction == null) LinearProgressIndicator(Modifier.fillMaxWidth()) else LinearProgressIndicator({ fraction }, Modifier.fillMaxWidth())
        }
        used -> Row(Modifier.heightIn(min = 48.dp), Arrangement.spacedBy(8.dp), Alignment.CenterVertically) {
            Glyph(R.drawable.ic_check, tint = MaterialTheme.colorScheme.primary)
            Text(stringResource(R.string.bundle_in_use), color = MaterialTheme.colorScheme.primary, style = MaterialTheme.typography.labelLarge)
        }
        else -> Column {
            if (!fits) Text(stringResource(R.string.too_large), style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.error)
            Button({ on(UiEvent.Load(entry.folder)) }, Modifier.heightIn(min = 48.dp)) { Text(stringResource(R.string.use_bundle)) }
        }
    }
}

@Composable
private fun CopyCard(copying: Copying, on: (UiEvent) -> Unit) = Panel {
    val total = copying.totalBytes ?: copying.doneBytes
    Text(stringResource(R.string.copying, copying.name, bytes(copying.doneBytes), bytes(total)), style = MaterialTheme.typography.bodyMedium)
    LinearProgressIndicator({ if (total > 0) copying.doneBytes / total.toFloat() else 0f }, Modifier.fillMaxWidth())
    FilledTonalButton({ on(UiEvent.StopImport) }, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_stop, stringResource(R.string.stop)) }
}

@Composable
private fun AddCard(state: UiState, platform: Platform) = Panel(colour = MaterialTheme.colorScheme.surfaceContainerLow) {
    SectionTitle(stringResource(R.string.add_bundle))
    val muted = MaterialTheme.colorScheme.onSurfaceVariant
    val bundles = state.bundles
    Text(stringResource(R.string.free_now, bytes(bundles.availableMemoryBytes), bytes(bundles.freeSpaceBytes)), style = MaterialTheme.typography.bodyMedium, color = muted)
    Wrapped {
        FilledTonalButton(platform.pickFolder, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_folder, stringResource(R.string.from_folder)) }
        FilledTonalButton(platform.pickZip, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_zip, stringResource(R.string.from_zip)) }
    }
    Text(stringResource(R.string.adb_hint), style = MaterialTheme.typography.bodySmall, color = muted)
}

@StringRes
private fun Origin.label(): Int = when (this) {
    Origin.COPIED -> R.string.origin_copied
    Origin.PUSHED -> R.string.origin_pushed
    Origin.BUILT_IN -> R.string.origin_built_in
}
