package org.vlmprune.demo.ui

import androidx.annotation.StringRes
import androidx.compose.runtime.Composable
import androidx.compose.ui.platform.LocalConfiguration
import org.vlmprune.demo.R
import java.text.NumberFormat
import java.util.Locale

/** Returns the language that the app is shown in; numbers follow it. */
@Composable
fun locale(): Locale = LocalConfiguration.current.locales[0]

@Composable
fun number(value: Double, digits: Int): String = NumberFormat.getNumberInstance(locale()).apply {
    minimumFractionDigits = digits
    maximumFractionDigits = digits
}.format(value)

/** Returns milliseconds, or seconds where there are many. */
@Composable
fun duration(ms: Double): String = when {
    ms >= 10_000 -> number(ms / 1000, 1) + " s"
    ms >= 1000 -> number(ms / 1000, 2) + " s"
    ms >= 10 -> number(ms, 0) + " ms"
    else -> number(ms, 1) + " ms"
}

@Composable
fun bytes(value: Long): String = when {
    value >= 1L shl 30 -> number(value / (1L shl 30).toDouble(), 1) + " GB"
    value >= 1L shl 20 -> number(value / (1L shl 20).toDouble(), 0) + " MB"
    else -> number(value / 1024.0, 0) + " kB"
}

@Composable
fun percent(fraction: Float): String = NumberFormat.getPercentInstance(locale()).format(fraction.toDouble())

/** Returns the name of a stage as a person reads it; the manifest's own where there is none. */
@StringRes
fun stageName(stage: String): Int? = when (stage) {
    "preprocess" -> R.string.stage_preprocess
    "vision" -> R.string.stage_vision
    "embed" -> R.string.stage_embed
    "prune_vision", "prune" -> R.string.stage_prune
    "head" -> R.string.stage_head
    "tail" -> R.string.stage_tail
    "decode" -> R.string.stage_decode
    "ttft" -> R.string.stage_ttft
    "llm_prefill" -> R.string.stage_llm_prefill
    "follow_up" -> R.string.stage_follow_up
    else -> null
}
