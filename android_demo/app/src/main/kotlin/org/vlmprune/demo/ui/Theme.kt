package org.vlmprune.demo.ui

import androidx.compose.foundation.isSystemInDarkTheme
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Shapes
import androidx.compose.material3.Typography
import androidx.compose.material3.darkColorScheme
import androidx.compose.material3.lightColorScheme
import androidx.compose.runtime.Composable
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.lerp
import androidx.compose.ui.text.font.FontWeight
import androidx.compose.ui.unit.dp

private val LIGHT = lightColorScheme(
    primary = Color(0xFF0B6B5D), onPrimary = Color.White,
    primaryContainer = Color(0xFFC4EFE4), onPrimaryContainer = Color(0xFF00201B),
    secondary = Color(0xFF5B5F8A), onSecondary = Color.White,
    secondaryContainer = Color(0xFFE2E2F7), onSecondaryContainer = Color(0xFF1A1C3F),
    tertiary = Color(0xFF9A5B00), onTertiary = Color.White,
    tertiaryContainer = Color(0xFFFFE3BF), onTertiaryContainer = Color(0xFF2F1800),
    background = Color(0xFFF8F9FC), onBackground = Color(0xFF181D1B),
    surface = Color(0xFFF8F9FC), onSurface = Color(0xFF181D1B),
    surfaceVariant = Color(0xFFE2E7E6), onSurfaceVariant = Color(0xFF424947),
    surfaceContainerLowest = Color.White, surfaceContainerLow = Color(0xFFF2F5F6), surfaceContainer = Color(0xFFEDF1F2),
    surfaceContainerHigh = Color(0xFFE6ECEC), surfaceContainerHighest = Color(0xFFDFE6E6),
    outline = Color(0xFF707976), outlineVariant = Color(0xFFC6CECB),
    error = Color(0xFFB3261E), errorContainer = Color(0xFFFBDDDA), onErrorContainer = Color(0xFF410E0B),
)

private val DARK = darkColorScheme(
    primary = Color(0xFF7FE0C6), onPrimary = Color(0xFF00382F),
    primaryContainer = Color(0xFF0E4F44), onPrimaryContainer = Color(0xFFC4EFE4),
    secondary = Color(0xFFC3C5F0), onSecondary = Color(0xFF2C2F55),
    secondaryContainer = Color(0xFF373A5E), onSecondaryContainer = Color(0xFFE2E2F7),
    tertiary = Color(0xFFFFC070), onTertiary = Color(0xFF4A2A00),
    tertiaryContainer = Color(0xFF5C3B0C), onTertiaryContainer = Color(0xFFFFE3BF),
    background = Color(0xFF0E1513), onBackground = Color(0xFFDEE4E1),
    surface = Color(0xFF0E1513), onSurface = Color(0xFFDEE4E1),
    surfaceVariant = Color(0xFF3A4441), onSurfaceVariant = Color(0xFFBEC9C5),
    surfaceContainerLowest = Color(0xFF09100E), surfaceContainerLow = Color(0xFF151D1B), surfaceContainer = Color(0xFF19221F),
    surfaceContainerHigh = Color(0xFF222D29), surfaceContainerHighest = Color(0xFF2D3834),
    outline = Color(0xFF89938F), outlineVariant = Color(0xFF3A4441),
    error = Color(0xFFF2B8B5), errorContainer = Color(0xFF6A211D), onErrorContainer = Color(0xFFFBDDDA),
)

private val SHAPES = Shapes(
    small = RoundedCornerShape(10.dp), medium = RoundedCornerShape(16.dp), large = RoundedCornerShape(24.dp),
)

private val TYPE = Typography().run {
    copy(
        headlineSmall = headlineSmall.copy(fontWeight = FontWeight.SemiBold),
        titleLarge = titleLarge.copy(fontWeight = FontWeight.SemiBold),
        titleMedium = titleMedium.copy(fontWeight = FontWeight.SemiBold),
        titleSmall = titleSmall.copy(fontWeight = FontWeight.SemiBold),
    )
}

@Composable
fun DemoTheme(content: @Composable () -> Unit) =
    MaterialTheme(if (isSystemInDarkTheme()) DARK else LIGHT, SHAPES, TYPE, content = content)

/** The colour of a kept token: from warm for the first choices to cool for the last. */
fun rankColour(rank: Int, count: Int): Color = lerp(Color(0xFFFFB300), Color(0xFF2EE6C0), if (count > 1) rank / (count - 1f) else 0f)
