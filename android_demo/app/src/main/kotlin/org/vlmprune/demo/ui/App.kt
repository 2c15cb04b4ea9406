package org.vlmprune.demo.ui

import androidx.annotation.DrawableRes
import androidx.annotation.StringRes
import androidx.compose.foundation.clickable
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.BoxWithConstraints
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.Spacer
import androidx.compose.foundation.layout.WindowInsets
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.imePadding
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.safeDrawing
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.layout.windowInsetsPadding
import androidx.compose.foundation.shape.CircleShape
import androidx.compose.material3.CircularProgressIndicator
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.NavigationBar
import androidx.compose.material3.NavigationBarItem
import androidx.compose.material3.NavigationRail
import androidx.compose.material3.NavigationRailItem
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.draw.clip
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.heading
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.dp
import org.vlmprune.demo.ModelState
import org.vlmprune.demo.R
import org.vlmprune.demo.Screen
import org.vlmprune.demo.UiEvent
import org.vlmprune.demo.UiState
import org.vlmprune.demo.benchmark.Report
import org.vlmprune.demo.benchmark.ReportFormat

private class Place(val screen: Screen, @DrawableRes val icon: Int, @StringRes val label: Int)

private val PLACES = listOf(
    Place(Screen.ASK, R.drawable.ic_ask, R.string.ask),
    Place(Screen.BENCHMARK, R.drawable.ic_benchmark, R.string.benchmark),
    Place(Screen.BUNDLES, R.drawable.ic_bundles, R.string.bundles),
)

/**
 * What the screens ask of Android: pickers, the camera, the clipboard, sharing and saving. Where [smallCamera] is true,
 * the camera gives photos of a few hundred pixels.
 */
class Platform(
    val pickPhotos: () -> Unit,
    val takePhoto: () -> Unit,
    val pickFolder: () -> Unit,
    val pickZip: () -> Unit,
    val copy: (String) -> Unit,
    val share: (title: String, text: String) -> Unit,
    val save: (Report, ReportFormat) -> Unit,
    val smallCamera: Boolean,
)

/** The whole app: the places at the edge, the loaded bundle on top, and one screen. */
@Composable
fun App(state: UiState, platform: Platform, on: (UiEvent) -> Unit) = DemoTheme {
    Surface(Modifier.fillMaxSize(), color = MaterialTheme.colorScheme.background) {
        BoxWithConstraints(Modifier.windowInsetsPadding(WindowInsets.safeDrawing).imePadding()) {
            val wide = maxWidth >= 600.dp
            if (wide) {
                Row {
                    Rail(state.screen, on)
                    Page(state, wide = true, platform, Modifier.weight(1f), on)
                }
            } else {
                Column {
                    Page(state, wide = false, platform, Modifier.weight(1f), on)
                    Bar(state.screen, on)
                }
            }
        }
    }
}

@Composable
private fun Page(state: UiState, wide: Boolean, platform: Platform, modifier: Modifier, on: (UiEvent) -> Unit) = Column(modifier) {
    ModelBar(state, on)
    Box(Modifier.weight(1f)) {
        when (state.screen) {
            Screen.ASK -> AskScreen(state, wide, platform, on)
            Screen.BENCHMARK -> BenchmarkScreen(state, wide, platform, on)
            Screen.BUNDLES -> BundlesScreen(state, platform, on)
        }
    }
}

@Composable
private fun Bar(screen: Screen, on: (UiEvent) -> Unit) = NavigationBar(windowInsets = WindowInsets(0)) {
    for (place in PLACES) {
        NavigationBarItem(place.screen == screen, { on(UiEvent.Open(place.screen)) }, { Glyph(place.icon) }, label = { Text(stringResource(place.label)) })
    }
}

@Composable
private fun Rail(screen: Screen, on: (UiEvent) -> Unit) = NavigationRail(windowInsets = WindowInsets(0)) {
    Spacer(Modifier.weight(1f))
    for (place in PLACES) {
        NavigationRailItem(place.screen == screen, { on(UiEvent.Open(place.screen)) }, { Glyph(place.icon) }, label = { Text(stringResource(place.label)) })
    }
    Spacer(Modifier.weight(1f))
}

/** The screen's name, and the bundle with how far it is; a tap leads to the bundles. */
@Composable
private fun ModelBar(state: UiState, on: (UiEvent) -> Unit) = Column {
    Row(Modifier.fillMaxWidth().padding(start = 20.dp, end = 12.dp, top = 8.dp, bottom = 8.dp), Arrangement.spacedBy(12.dp), Alignment.CenterVertically) {
        val title = PLACES.first { it.screen == state.screen }.label
        Text(stringResource(title), Modifier.semantics { heading() }, style = MaterialTheme.typography.headlineSmall)
        Spacer(Modifier.weight(1f))
        ModelChip(state.model) { on(UiEvent.Open(Screen.BUNDLES)) }
    }
    val preparing = state.model as? ModelState.Preparing
    val fraction = preparing?.fraction
    if (fraction != null) LinearProgressIndicator({ fraction }, Modifier.fillMaxWidth()) else if (preparing != null) LinearProgressIndicator(Modifier.fillMaxWidth())
}

@Composable
private fun ModelChip(model: ModelState, onClick: () -> Unit) {
    val ready = model is ModelState.Ready
    val colours = MaterialTheme.colorScheme
    Surface(
        color = if (ready) colours.primaryContainer else colours.surfaceContainerHigh,
        contentColor = if (ready) colours.onPrimaryContainer else colours.onSurfaceVariant, shape = CircleShape,
    ) {
        Row(
            Modifier.clip(CircleShape).clickable(onClickLabel = stringResource(R.string.bundles), onClick = onClick).heightIn(min = 48.dp).padding(horizontal = 14.dp),
            Arrangement.spacedBy(8.dp), Alignment.CenterVertically,
        ) {
            if (model is ModelState.Preparing) CircularProgressIndicator(Modifier.size(16.dp), strokeWidth = 2.dp) else Glyph(if (ready) R.drawable.ic_check else R.drawable.ic_bundles, size = 18.dp)
            Text(modelText(model), style = MaterialTheme.typography.labelLarge, maxLines = 1, overflow = TextOverflow.Ellipsis)
        }
    }
}

@Composable
fun modelText(model: ModelState): String = when (model) {
    ModelState.None -> stringResource(R.string.no_bundle)
    is ModelState.Verifying -> stringResource(R.string.verifying, percent(model.fraction))
    is ModelState.Loading -> stringResource(R.string.loading, model.stage)
    is ModelState.WarmingUp -> stringResource(R.string.warming_up)
    is ModelState.Ready -> model.model.name
    is ModelState.Failed -> stringResource(R.string.not_loaded)
}
