package org.vlmprune.demo.benchmark

import android.content.Context
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.update
import org.vlmprune.demo.problemOf
import org.vlmprune.runtime.ImageSource
import org.vlmprune.runtime.LoadedPicture
import org.vlmprune.runtime.Picture
import org.vlmprune.runtime.Runner
import org.vlmprune.runtime.benchmark.BenchmarkEvent
import org.vlmprune.runtime.benchmark.BenchmarkRequest
import org.vlmprune.runtime.benchmark.LoadCost
import org.vlmprune.runtime.benchmark.measure

private const val DRAWN_PX = 448

/** Measures pruned against unpruned and writes how far it is into the screen's state. */
class BenchmarkRun(private val context: Context, private val state: MutableStateFlow<BenchmarkState>, private val reports: Reports) {
    val runState: RunState get() = state.value.run

    /** Returns the report; null if it failed, which the state then says. [progress] is told done and all runs. */
    suspend fun run(runner: Runner, cost: LoadCost, request: BenchmarkRequest, progress: (Int, Int) -> Unit = { _, _ -> }): Report? {
        val monitor = PhoneMonitor(context) { reason -> state.update { it.copy(run = it.run.waiting(reason)) } }
        monitor.look()
        state.update { it.copy(run = RunState.Running(0, request.runs, warmUp = true, pruned = true)) }
        var report: Report? = null
        try {
            measure(runner, request, monitor, cost).collect { event ->
                when (event) {
                    is BenchmarkEvent.RunStarted -> state.update { it.copy(run = running(event)) }
                    is BenchmarkEvent.RunEnded -> monitor.look().also { progress(event.started.nth, event.started.runs) }
                    is BenchmarkEvent.Finished -> report = reports.add(event.record, monitor)
                }
            }
            state.update { it.copy(run = RunState.Idle) }
        } catch (error: CancellationException) {
            state.update { it.copy(run = RunState.Idle) }
            throw error
        } catch (error: Throwable) {
            state.update { it.copy(run = RunState.Failed(problemOf(error))) }
        }
        return report
    }
}

private fun running(event: BenchmarkEvent.RunStarted) = RunState.Running(event.nth - 1, event.runs, event.warmUp, event.prune)

private fun RunState.waiting(reason: Waiting?): RunState = if (this is RunState.Running) copy(waiting = reason) else this

/** Returns a picture with edges and colours for a measurement without a photo; it is the same on every phone. */
fun drawnPicture(): ImageSource {
    val rgb = ByteArray(3 * DRAWN_PX * DRAWN_PX)
    for (y in 0 until DRAWN_PX) for (x in 0 until DRAWN_PX) {
        val at = 3 * (y * DRAWN_PX + x)
        val inside = (x / 64 + y / 64) % 2 == 0
        rgb[at] = (if (inside) x / 2 else 40).toByte()
        rgb[at + 1] = (if (inside) y / 2 else 90).toByte()
        rgb[at + 2] = (if (inside) 200 else (x + y) / 4).toByte()
    }
    return LoadedPicture("drawn by the app", Picture(DRAWN_PX, DRAWN_PX, rgb))
}
