package org.vlmprune.runtime.benchmark

import java.io.File
import java.io.IOException

/** The state of a device that may disturb a measurement; null where the system does not report it. */
data class DeviceState(
    val celsius: Double? = null,
    val thermalState: String? = null,
    val load: Double? = null,
    val batteryFraction: Double? = null,
    val charging: Boolean? = null,
)

/** What a platform knows of its device; an app gives its own. */
interface DeviceMonitor {
    fun state(): DeviceState

    /** Returns the device's description, with its state before and after the measurement. */
    fun describe(before: DeviceState, after: DeviceState): Device

    /** Is called before each pair of runs, warm-ups included, and may wait until the device has cooled. */
    suspend fun beforePair(round: Int, warmUp: Boolean) {}
}

/** Returns what changed of heat and battery, null where neither is known. */
fun thermalOf(before: DeviceState, after: DeviceState): Thermal? =
    Thermal(before.celsius, after.celsius, before.thermalState, after.thermalState).takeIf { it != Thermal() }

fun batteryOf(before: DeviceState, after: DeviceState): Battery? =
    Battery(before.batteryFraction, after.batteryFraction, after.charging).takeIf { it != Battery() }

/** Describes a machine that is no phone, from the files of Linux where it has them. */
object DesktopMonitor : DeviceMonitor {
    override fun state() = DeviceState(
        celsius = File("/sys/class/thermal").listFiles { zone -> zone.name.startsWith("thermal_zone") }
            ?.mapNotNull { zone -> textOf("${zone.path}/temp").trim().toIntOrNull() }?.maxOrNull()?.div(1000.0),
        load = textOf("/proc/loadavg").substringBefore(' ').toDoubleOrNull(),
    )

    override fun describe(before: DeviceState, after: DeviceState): Device {
        val cpu = lineOf("/proc/cpuinfo", Regex("^(?:model name|Model|Hardware)\\s*: (.+)$", RegexOption.MULTILINE))
        val system = "${System.getProperty("os.name")} ${System.getProperty("os.version")}"
        val distribution = lineOf("/etc/os-release", Regex("^PRETTY_NAME=\"?([^\"\\n]+)\"?$", RegexOption.MULTILINE))
        return Device(
            kind = "desktop",
            name = cpu ?: System.getProperty("os.arch"),
            os = listOfNotNull(distribution, system).joinToString(", "),
            cpu = cpu,
            cores = Runtime.getRuntime().availableProcessors(),
            memoryBytes = statusBytes(textOf("/proc/meminfo"), "MemTotal"),
            loadBefore = before.load,
            thermal = thermalOf(before, after),
        )
    }
}

private fun lineOf(path: String, pattern: Regex): String? = pattern.find(textOf(path))?.groupValues?.get(1)?.trim()

internal fun textOf(path: String): String = try {
    File(path).readText()
} catch (error: IOException) {
    ""
}
