package org.vlmprune.demo.ui

import androidx.annotation.DrawableRes
import androidx.annotation.StringRes
import androidx.compose.foundation.background
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.ColumnScope
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.shape.CircleShape
import androidx.compose.material3.Card
import androidx.compose.material3.CardDefaults
import androidx.compose.material3.Icon
import androidx.compose.material3.IconButton
import androidx.compose.material3.LocalContentColor
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.res.painterResource
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.LiveRegionMode
import androidx.compose.ui.semantics.heading
import androidx.compose.ui.semantics.liveRegion
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.unit.Dp
import androidx.compose.ui.unit.dp
import org.vlmprune.demo.Problem
import org.vlmprune.demo.ProblemKind
import org.vlmprune.demo.R

@Composable
fun Glyph(@DrawableRes icon: Int, modifier: Modifier = Modifier, size: Dp = 22.dp, tint: Color = LocalContentColor.current) =
    Icon(painterResource(icon), null, modifier.size(size), tint)

@Composable
fun IconAction(@DrawableRes icon: Int, @StringRes label: Int, modifier: Modifier = Modifier, enabled: Boolean = true, onClick: () -> Unit) =
    IconButton(onClick, modifier, enabled) { Icon(painterResource(icon), stringResource(label), Modifier.size(20.dp)) }

/** A card on the page's ground, the one shape that all content lies on. */
@Composable
fun Panel(modifier: Modifier = Modifier, colour: Color = MaterialTheme.colorScheme.surfaceContainerLowest, content: @Composable ColumnScope.() -> Unit) =
    Card(modifier.fillMaxWidth(), MaterialTheme.shapes.large, CardDefaults.cardColors(colour, MaterialTheme.colorScheme.onSurface)) {
        Column(Modifier.padding(16.dp), Arrangement.spacedBy(10.dp), content = content)
    }

@Composable
fun SectionTitle(text: String, modifier: Modifier = Modifier) =
    Text(text, modifier.semantics { heading() }, style = MaterialTheme.typography.titleMedium)

/** A short fact in a pill. */
@Composable
fun Fact(text: String, colour: Color = MaterialTheme.colorScheme.surfaceContainerHigh, ink: Color = MaterialTheme.colorScheme.onSurfaceVariant) =
    Surface(color = colour, contentColor = ink, shape = CircleShape) {
        Text(text, Modifier.padding(horizontal = 10.dp, vertical = 4.dp), style = MaterialTheme.typography.labelMedium)
    }

/** What went wrong and what to do about it, read out by TalkBack as it appears. */
@Composable
fun ProblemCard(problem: Problem, modifier: Modifier = Modifier, onDismiss: (() -> Unit)? = null) {
    val colours = MaterialTheme.colorScheme
    Card(
        modifier.fillMaxWidth().semantics { liveRegion = LiveRegionMode.Polite }, MaterialTheme.shapes.large,
        CardDefaults.cardColors(colours.errorContainer, colours.onErrorContainer),
    ) {
        Row(Modifier.padding(start = 16.dp, end = 16.dp, top = 14.dp), Arrangement.spacedBy(12.dp), Alignment.Top) {
            Glyph(R.drawable.ic_warning)
            Column(Modifier.weight(1f), Arrangement.spacedBy(4.dp)) {
                Text(stringResource(problem.kind.title()), style = MaterialTheme.typography.titleSmall)
                Text(stringResource(problem.kind.advice(), problem.detail), style = MaterialTheme.typography.bodyMedium)
            }
        }
        if (onDismiss == null) Row(Modifier.padding(7.dp)) {} else TextButton(onDismiss, Modifier.align(Alignment.End).padding(end = 8.dp)) {
            Text(stringResource(R.string.close), color = colours.onErrorContainer)
        }
    }
}

/** A filled circle with a glyph, the picture of an empty place. */
@Composable
fun Emblem(@DrawableRes icon: Int) = Row(
    Modifier.background(MaterialTheme.colorScheme.primaryContainer, CircleShape).padding(18.dp),
) { Glyph(icon, size = 32.dp, tint = MaterialTheme.colorScheme.onPrimaryContainer) }

@StringRes
fun ProblemKind.title(): Int = when (this) {
    ProblemKind.OLD_BUNDLE -> R.string.problem_old_bundle
    ProblemKind.NEW_BUNDLE -> R.string.problem_new_bundle
    ProblemKind.CORRUPT_BUNDLE -> R.string.problem_corrupt_bundle
    ProblemKind.NO_BUNDLE_IN_FOLDER -> R.string.problem_no_bundle
    ProblemKind.MISSING_LIBRARY -> R.string.problem_missing_library
    ProblemKind.UNSUPPORTED_CPU -> R.string.problem_cpu
    ProblemKind.LOW_MEMORY -> R.string.problem_memory
    ProblemKind.NO_SPACE -> R.string.problem_space
    ProblemKind.UNREADABLE_PHOTO -> R.string.problem_photo
    ProblemKind.UNREADABLE_FILE -> R.string.problem_file
    ProblemKind.NOT_SAVED -> R.string.problem_save
    ProblemKind.NO_CAMERA -> R.string.problem_camera
    ProblemKind.REFUSED_REQUEST -> R.string.problem_request
    ProblemKind.ENGINE_FAILED -> R.string.problem_engine
}

@StringRes
fun ProblemKind.advice(): Int = when (this) {
    ProblemKind.OLD_BUNDLE -> R.string.advice_old_bundle
    ProblemKind.NEW_BUNDLE -> R.string.advice_new_bundle
    ProblemKind.CORRUPT_BUNDLE -> R.string.advice_corrupt_bundle
    ProblemKind.NO_BUNDLE_IN_FOLDER -> R.string.advice_no_bundle
    ProblemKind.MISSING_LIBRARY -> R.string.advice_missing_library
    ProblemKind.UNSUPPORTED_CPU -> R.string.advice_cpu
    ProblemKind.LOW_MEMORY -> R.string.advice_memory
    ProblemKind.NO_SPACE -> R.string.advice_space
    ProblemKind.UNREADABLE_PHOTO -> R.string.advice_photo
    ProblemKind.UNREADABLE_FILE -> R.string.advice_file
    ProblemKind.NOT_SAVED -> R.string.advice_save
    ProblemKind.NO_CAMERA -> R.string.advice_camera
    ProblemKind.REFUSED_REQUEST -> R.string.advice_request
    ProblemKind.ENGINE_FAILED -> R.string.advice_engine
}
