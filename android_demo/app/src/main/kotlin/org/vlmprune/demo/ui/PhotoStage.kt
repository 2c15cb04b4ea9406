package org.vlmprune.demo.ui

import androidx.compose.foundation.Canvas
import androidx.compose.foundation.Image
import androidx.compose.foundation.border
import androidx.compose.foundation.clickable
import androidx.compose.foundation.horizontalScroll
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.aspectRatio
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.rememberScrollState
import androidx.compose.material3.FilledTonalButton
import androidx.compose.material3.IconButtonDefaults
import androidx.compose.material3.FilledTonalIconButton
import androidx.compose.material3.Icon
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Slider
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.draw.clip
import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.geometry.Rect
import androidx.compose.ui.geometry.Size
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.FilterQuality
import androidx.compose.ui.graphics.ImageBitmap
import androidx.compose.ui.graphics.drawscope.DrawScope
import androidx.compose.ui.graphics.drawscope.Stroke
import androidx.compose.ui.layout.ContentScale
import androidx.compose.ui.res.painterResource
import androidx.compose.ui.res.pluralStringResource
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.semantics.contentDescription
import androidx.compose.ui.semantics.selected
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.semantics.stateDescription
import androidx.compose.ui.text.style.TextAlign
import androidx.compose.ui.unit.IntOffset
import androidx.compose.ui.unit.IntSize
import androidx.compose.ui.unit.dp
import org.vlmprune.demo.R
import org.vlmprune.demo.UiEvent
import org.vlmprune.demo.ask.AskState
import org.vlmprune.demo.ask.KeptView
import org.vlmprune.demo.ask.inOrder
import kotlin.math.roundToInt

private const val DROPPED_DARKNESS = 0.62f
private const val UNSEEN_DARKNESS = 0.82f

/** The photo with what was kept of it, the other photos, and the slider through the order; or an invitation to choose. */
@Composable
fun PhotoStage(ask: AskState, platform: Platform, modifier: Modifier = Modifier, on: (UiEvent) -> Unit) = Column(modifier, Arrangement.spacedBy(10.dp)) {
    val photo = ask.photos.getOrNull(ask.shownPhoto)
    if (photo == null) {
        Invitation(platform)
    } else {
        Box {
            KeptPhoto(photo.preview, ask.keptOfShown, ask.shownKept)
            if (!ask.running) Corner(Modifier.align(Alignment.TopEnd)) { on(UiEvent.RemovePhoto(ask.shownPhoto)) }
        }
        if (ask.keptCount > 0) Order(ask, on)
        Strip(ask, platform, on)
    }
}

@Composable
private fun Invitation(platform: Platform) = Surface(
    Modifier.fillMaxWidth(), MaterialTheme.shapes.large, MaterialTheme.colorScheme.surfaceContainerLow,
) {
    Column(Modifier.padding(horizontal = 24.dp, vertical = 36.dp), Arrangement.spacedBy(14.dp), Alignment.CenterHorizontally) {
        Emblem(R.drawable.ic_photo)
        Text(stringResource(R.string.invitation), style = MaterialTheme.typography.titleLarge, textAlign = TextAlign.Center)
        Text(
            stringResource(R.string.invitation_more), textAlign = TextAlign.Center,
            style = MaterialTheme.typography.bodyMedium, color = MaterialTheme.colorScheme.onSurfaceVariant,
        )
        Wrapped {
            FilledTonalButton(platform.pickPhotos, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_photo, stringResource(R.string.choose_photos)) }
            FilledTonalButton(platform.takePhoto, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_camera, stringResource(R.string.take_photo)) }
        }
        if (platform.smallCamera) {
            Text(
                stringResource(R.string.small_camera), textAlign = TextAlign.Center,
                style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.onSurfaceVariant,
            )
        }
    }
}

@Composable
fun Labelled(icon: Int, text: String) = Row(horizontalArrangement = Arrangement.spacedBy(8.dp), verticalAlignment = Alignment.CenterVertically) {
    Glyph(icon, size = 18.dp)
    Text(text)
}

@Composable
private fun Corner(modifier: Modifier, onClick: () -> Unit) = FilledTonalIconButton(
    onClick, modifier.padding(6.dp), colors = IconButtonDefaults.filledTonalIconButtonColors(Color(0x99000000), Color.White),
) { Icon(painterResource(R.drawable.ic_close), stringResource(R.string.remove_photo), Modifier.size(18.dp)) }

/** Draws a photo; once tokens were kept, what was dropped is dark and the first [shown] choices are bright. */
@Composable
fun KeptPhoto(image: ImageBitmap, kept: List<KeptView>, shown: Int, modifier: Modifier = Modifier) {
    val count = kept.sumOf { it.patches.size }
    val description = if (count == 0) stringResource(R.string.photo_description) else
        pluralStringResource(R.plurals.kept_description, count, shown, count)
    val ratio = (image.width / image.height.toFloat()).coerceIn(1f, 2.2f)
    Canvas(Modifier.fillMaxWidth().then(modifier).aspectRatio(ratio).clip(MaterialTheme.shapes.large).semantics { contentDescription = description }) {
        val place = fitted(image)
        drawRect(Color(0xFF101614))
        draw(image, Rect(0f, 0f, 1f, 1f), place)
        if (kept.isNotEmpty()) drawKept(image, kept, shown, place)
    }
}

/** Returns where the whole image lies when it is as large as fits. */
private fun DrawScope.fitted(image: ImageBitmap): Rect {
    val scale = minOf(size.width / image.width, size.height / image.height)
    val fitted = Size(image.width * scale, image.height * scale)
    return Rect(Offset((size.width - fitted.width) / 2, (size.height - fitted.height) / 2), fitted)
}

private fun DrawScope.drawKept(image: ImageBitmap, kept: List<KeptView>, shown: Int, place: Rect) {
    drawRect(Color.Black.copy(alpha = UNSEEN_DARKNESS), place.topLeft, place.size)
    for (view in kept) {
        val seen = view.seen.intersect(Rect(0f, 0f, 1f, 1f))
        draw(image, seen, place)
        seen.on(place).let { drawRect(Color.Black.copy(alpha = DROPPED_DARKNESS), it.topLeft, it.size) }
    }
    val patches = kept.inOrder()
    for (patch in patches.take(shown)) {
        val bright = patch.box.intersect(Rect(0f, 0f, 1f, 1f))
        if (!bright.isEmpty) draw(image, bright, place)
    }
    patches.take(shown).forEachIndexed { nth, patch -> frame(patch.box.on(place), nth, patches.size, nth == shown - 1) }
}

/** The frame of a kept token; that of the latest choice is thick. */
private fun DrawScope.frame(box: Rect, nth: Int, count: Int, latest: Boolean) {
    val width = (if (latest) 3.dp else 1.25.dp).toPx()
    drawRect(rankColour(nth, count), box.topLeft + Offset(width / 2, width / 2), Size(box.width - width, box.height - width), style = Stroke(width))
}

private fun DrawScope.draw(image: ImageBitmap, part: Rect, place: Rect) {
    val source = Rect(part.left * image.width, part.top * image.height, part.right * image.width, part.bottom * image.height)
    val target = part.on(place)
    // The model sees transparent parts over white.
    drawRect(Color.White, target.topLeft, target.size)
    drawImage(
        image, IntOffset(source.left.roundToInt(), source.top.roundToInt()), source.size(), IntOffset(target.left.roundToInt(), target.top.roundToInt()),
        target.size(), filterQuality = FilterQuality.Medium,
    )
}

private fun Rect.size() = IntSize(right.roundToInt() - left.roundToInt(), bottom.roundToInt() - top.roundToInt())

private fun Rect.on(place: Rect) =
    Rect(place.left + left * place.width, place.top + top * place.height, place.left + right * place.width, place.top + bottom * place.height)

@Composable
private fun Order(ask: AskState, on: (UiEvent) -> Unit) = Panel {
    val visual = ask.keptOfShown.sumOf { it.visualTokens }
    val label = stringResource(R.string.kept_tokens)
    val text = stringResource(R.string.kept_of, ask.shownKept, ask.keptCount)
    Row(Modifier.fillMaxWidth(), Arrangement.SpaceBetween, Alignment.CenterVertically) {
        Text(label, style = MaterialTheme.typography.titleSmall)
        Text(stringResource(R.string.of_visual_tokens, ask.keptCount, visual), style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.onSurfaceVariant)
    }
    Slider(
        ask.shownKept.toFloat(), { on(UiEvent.ShowKept(it.roundToInt())) },
        Modifier.semantics { contentDescription = label; stateDescription = text },
        valueRange = 0f..ask.keptCount.toFloat(),
    )
    Text(text, style = MaterialTheme.typography.bodySmall, color = MaterialTheme.colorScheme.onSurfaceVariant)
}

/** All photos, small, and what adds more. */
@Composable
private fun Strip(ask: AskState, platform: Platform, on: (UiEvent) -> Unit) = Row(
    Modifier.fillMaxWidth().horizontalScroll(rememberScrollState()), Arrangement.spacedBy(8.dp), Alignment.CenterVertically,
) {
    if (ask.photos.size > 1) {
        ask.photos.forEachIndexed { index, photo ->
            val label = stringResource(R.string.photo_nth, index + 1, ask.photos.size)
            val edge = if (index == ask.shownPhoto) MaterialTheme.colorScheme.primary else Color.Transparent
            Image(
                photo.preview, label, contentScale = ContentScale.Crop,
                modifier = Modifier.size(56.dp).clip(MaterialTheme.shapes.small).border(3.dp, edge, MaterialTheme.shapes.small)
                    .semantics { selected = index == ask.shownPhoto }.clickable { on(UiEvent.ShowPhoto(index)) },
            )
        }
    }
    // Another photo begins another conversation, so it is offered where one begins.
    if (ask.turns.isEmpty()) {
        FilledTonalButton(platform.pickPhotos, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_add, stringResource(R.string.choose_photos)) }
        FilledTonalButton(platform.takePhoto, Modifier.heightIn(min = 48.dp)) { Labelled(R.drawable.ic_camera, stringResource(R.string.take_photo)) }
    }
}
