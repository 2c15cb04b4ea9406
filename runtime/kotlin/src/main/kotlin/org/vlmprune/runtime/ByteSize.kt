package org.vlmprune.runtime

import java.util.Locale

private const val KIBI = 1024.0
private const val MEBI = 1024 * KIBI
private const val GIBI = 1024 * MEBI

/** Returns a number of bytes with a binary unit and at least two digits, such as 2.9 MiB. */
fun formatBytes(bytes: Long): String = when {
    bytes >= GIBI -> String.format(Locale.ROOT, "%.2f GiB", bytes / GIBI)
    bytes >= 100 * MEBI -> String.format(Locale.ROOT, "%.0f MiB", bytes / MEBI)
    bytes >= MEBI -> String.format(Locale.ROOT, "%.1f MiB", bytes / MEBI)
    bytes >= KIBI -> String.format(Locale.ROOT, "%.1f KiB", bytes / KIBI)
    else -> "$bytes B"
}
