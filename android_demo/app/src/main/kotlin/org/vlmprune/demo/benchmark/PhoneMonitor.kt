package org.vlmprune.demo.benchmark

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import kotlinx.coroutines.delay
import org.vlmprune.runtime.benchmark.Device
import org.vlmprune.runtime.benchmark.DeviceMonitor
import org.vlmprune.runtime.benchmark.DeviceState
import org.vlmprune.runtime.benchmark.batteryOf
import org.vlmprune.runtime.benchmark.residentBytes
import org.vlmprune.runtime.benchmark.thermalOf

private const val REST_MS = 500L
private const val LOOK_MS = 2_000L
private const val MOST_WAIT_MS = 300_000L
private const val HOT = 2
private const val HOT_HEADROOM = 0.95
private const val LOW_BATTERY = 0.15
private const val HEADROOM_AHEAD_S = 0
private val THERMAL_WORDS = listOf("nominal", "light", "moderate", "severe", "critical", "emergency", "shutdown")

/** Watches memory, battery and heat of the phone while it measures, and holds the next pair back while they disturb. */
class PhoneMonitor(private val context: Context, private val waiting: (Waiting?) -> Unit) : DeviceMonitor {
    private val power = context.getSystemService(PowerManager::class.java)
    private val activities = context.getSystemService(ActivityManager::class.java)
    private val start = System.nanoTime()
    val moments = mutableListOf<PhoneMoment>()
    private val disturbed = mutableSetOf<Disturbance>()

    /** What may have changed the times, from what was seen. */
    val disturbances: List<Disturbance> get() = (disturbed + moments.flatMap(::disturbancesOf)).distinct().sorted()

    override fun state(): DeviceState {
        val now = look()
        return DeviceState(
            celsius = battery()?.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, -1)?.takeIf { it > 0 }?.div(10.0),
            thermalState = now.thermal?.let { THERMAL_WORDS.getOrNull(it) },
            batteryFraction = now.batteryFraction, charging = now.charging,
        )
    }

    override fun describe(before: DeviceState, after: DeviceState) = Device(
        kind = "android", name = "${Build.MANUFACTURER} ${Build.MODEL}", os = "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})",
        cpu = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) Build.SOC_MODEL else Build.HARDWARE,
        cores = Runtime.getRuntime().availableProcessors(), memoryBytes = memory().totalMem,
        thermal = thermalOf(before, after), battery = batteryOf(before, after),
    )

    /** Rests, then waits until the phone is cool enough and charging is steady, five minutes at most. */
    override suspend fun beforePair(round: Int, warmUp: Boolean) {
        delay(REST_MS)
        var waitedMs = 0L
        while (waitedMs < MOST_WAIT_MS) {
            val reason = reasonToWait() ?: break
            disturbed += if (reason == Waiting.HOT) Disturbance.WAITED_FOR_HEAT else Disturbance.CHARGING_CHANGED
            waiting(reason)
            delay(LOOK_MS)
            waitedMs += LOOK_MS
        }
        waiting(null)
    }

    /** Notes the phone's state now and returns it. */
    fun look(): PhoneMoment {
        val memory = memory()
        val moment = PhoneMoment(
            atMs = (System.nanoTime() - start) / 1_000_000, residentBytes = residentBytes(), freeBytes = memory.availMem,
            batteryFraction = batteryFraction(), charging = charging(), thermal = thermal(), headroom = headroom(),
            powerSaving = power.isPowerSaveMode, lowMemory = memory.lowMemory,
        )
        moments += moment
        return moment
    }

    private fun reasonToWait(): Waiting? {
        val before = moments.lastOrNull()
        val now = look()
        return when {
            hot(now) -> Waiting.HOT
            before?.charging != null && before.charging != now.charging -> Waiting.CHARGING_CHANGED
            else -> null
        }
    }

    private fun memory() = ActivityManager.MemoryInfo().also(activities::getMemoryInfo)

    /** The battery's state is kept by the system and handed out without a receiver or a permission. */
    private fun battery(): Intent? = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))

    private fun batteryFraction(): Double? = battery()?.let { state ->
        val level = state.getIntExtra(BatteryManager.EXTRA_LEVEL, -1)
        val scale = state.getIntExtra(BatteryManager.EXTRA_SCALE, -1)
        if (level >= 0 && scale > 0) level / scale.toDouble() else null
    }

    private fun charging(): Boolean? = battery()?.getIntExtra(BatteryManager.EXTRA_PLUGGED, -1)?.takeIf { it >= 0 }?.let { it > 0 }

    private fun thermal(): Int? = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) power.currentThermalStatus else null

    private fun headroom(): Double? {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.R) return null
        return power.getThermalHeadroom(HEADROOM_AHEAD_S).toDouble().takeIf { it.isFinite() }
    }
}

private fun hot(moment: PhoneMoment) = (moment.thermal ?: 0) >= HOT || (moment.headroom ?: 0.0) >= HOT_HEADROOM

private fun disturbancesOf(moment: PhoneMoment): List<Disturbance> = listOfNotNull(
    Disturbance.RAN_HOT.takeIf { hot(moment) },
    Disturbance.LOW_BATTERY.takeIf { (moment.batteryFraction ?: 1.0) < LOW_BATTERY && moment.charging != true },
    Disturbance.POWER_SAVING.takeIf { moment.powerSaving },
    Disturbance.LOW_MEMORY.takeIf { moment.lowMemory },
)
