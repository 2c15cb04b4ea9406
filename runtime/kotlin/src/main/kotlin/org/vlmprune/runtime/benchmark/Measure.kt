package org.vlmprune.runtime.benchmark

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import org.vlmprune.runtime.BadRequest
import org.vlmprune.runtime.EngineOptions
import org.vlmprune.runtime.ImageSource
import org.vlmprune.runtime.LoadProgress
import org.vlmprune.runtime.Runner
import org.vlmprune.runtime.Timings
import org.vlmprune.runtime.VERSION
import org.vlmprune.runtime.msSince
import org.vlmprune.runtime.openRunner
import java.nio.file.Path
import java.time.Instant
import java.time.temporal.ChronoUnit

/** The settings of a measurement; [followUp] null asks a sample question where a bundle has room for it. */
class BenchmarkRequest(
    val images: List<ImageSource>,
    val prompt: String,
    val repetitions: Int = 10,
    val warmups: Int = 2,
    val tokens: Int = 16,
    val followUp: String? = null,
) {
    init {
        for ((name, count) in listOf("images" to images.size, "repetitions" to repetitions, "warmups" to warmups, "tokens" to tokens)) {
            if (count < 1) throw BadRequest("$name: got $count, allowed: 1 or more")
        }
    }

    /** How many runs a measurement has, warm-ups included. */
    val runs: Int get() = 2 * (warmups + repetitions)
}

/** What loading a bundle cost; null where it was not measured. */
class LoadCost(val loadMs: Double? = null, val beforeBytes: Long? = null, val afterBytes: Long? = null)

/** What happens while a measurement comes about. */
sealed interface BenchmarkEvent {
    /** A run begins; [nth] counts all runs from 1. */
    data class RunStarted(val nth: Int, val runs: Int, val warmUp: Boolean, val round: Int, val prune: Boolean) : BenchmarkEvent

    /** A run has ended. */
    data class RunEnded(val started: RunStarted, val timings: Timings) : BenchmarkEvent

    data class Finished(val record: BenchmarkRecord) : BenchmarkEvent
}

/** Opens a bundle as [openRunner] does, and measures what that costs. */
fun openTimed(
    folder: Path,
    options: EngineOptions = EngineOptions(),
    verify: Boolean = true,
    progress: (LoadProgress) -> Unit = {},
): Pair<Runner, LoadCost> {
    val (before, start) = residentBytes() to System.nanoTime()
    val runner = openRunner(folder, options, verify, progress)
    return runner to LoadCost(msSince(start), before, residentBytes())
}

/**
 * Returns the events of a measurement in alternating pairs: both modes run by turns, and the next round reverses them.
 *
 * It runs on [Dispatchers.Default] while it is collected, and nothing else may use the runner then. Cancelling the
 * collector stops it after the stage that is running. Raises [BadRequest] if the task does not fit the bundle.
 */
fun measure(
    runner: Runner,
    request: BenchmarkRequest,
    monitor: DeviceMonitor = DesktopMonitor,
    load: LoadCost = LoadCost(),
): Flow<BenchmarkEvent> = flow { runner.exclusively { Rounds(runner, request, monitor, load, this).run() } }
    .flowOn(Dispatchers.Default)

/** The rounds of one measurement. */
private class Rounds(
    private val runner: Runner,
    private val request: BenchmarkRequest,
    private val monitor: DeviceMonitor,
    private val load: LoadCost,
    private val events: FlowCollector<BenchmarkEvent>,
) {
    private val task = Task(request.images, request.prompt, request.tokens, request.followUp)
    private var nth = 0

    suspend fun run() {
        checkContextFits(runner, task)
        monitor.beforePair(0, true)
        val pruned = peakOf(ScheduledRun(0, true))
        val measurement = Measurement(runner, task, load, Peaks(pruned, peakOf(ScheduledRun(0, false))))
        for (scheduled in runOrder(request.warmups).drop(2)) timed(scheduled, warmUp = true)
        val before = monitor.state()
        for (scheduled in runOrder(request.repetitions)) measurement.add(scheduled, timed(scheduled, warmUp = false))
        events.emit(BenchmarkEvent.Finished(record(measurement, before, monitor.state())))
    }

    /** Runs the first warm-up of a mode, and returns the most memory that was resident meanwhile. */
    private suspend fun peakOf(scheduled: ScheduledRun): Long? {
        resetPeak()
        report(scheduled, warmUp = true)
        return peakBytes()
    }

    private suspend fun timed(scheduled: ScheduledRun, warmUp: Boolean): TimedRun {
        val isFirst = scheduled.prune == (scheduled.round % 2 == 1)
        if (isFirst) monitor.beforePair(scheduled.round, warmUp)
        return report(scheduled, warmUp)
    }

    private suspend fun report(scheduled: ScheduledRun, warmUp: Boolean): TimedRun {
        val started = BenchmarkEvent.RunStarted(++nth, request.runs, warmUp, scheduled.round, scheduled.prune)
        events.emit(started)
        val run = runTimed(runner, task, scheduled.prune)
        events.emit(BenchmarkEvent.RunEnded(started, run.timings))
        return run
    }

    private fun record(measurement: Measurement, before: DeviceState, after: DeviceState) = BenchmarkRecord(
        created = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString().replace("Z", "+00:00"),
        tool = Tool("vlmprune-kotlin", VERSION),
        device = monitor.describe(before, after),
        settings = settings(),
        results = listOf(measurement.result()),
    )

    private fun settings(): Settings {
        val images = request.images.map { source ->
            source.load().let { ImageInfo(source.name, source.sha256, it.width, it.height) }
        }
        return Settings(
            repetitions = request.repetitions,
            warmups = request.warmups,
            tokens = request.tokens,
            threads = runner.options.threads,
            prompt = request.prompt,
            image = images[0],
            images = if (images.size > 1) images else emptyList(),
            followUp = request.followUp ?: SAMPLE_FOLLOW_UP,
        )
    }
}

/** Raises [BadRequest] unless prompt and answer fit the context; the last token is not written to the cache. */
private fun checkContextFits(runner: Runner, task: Task) {
    val promptTokens = runner.ask(task.request(prune = false)).prompt.tokenIds.size
    val needed = promptTokens + task.tokens - 1
    if (needed > runner.contextTokens) {
        val name = runner.bundle.manifest.name
        val room = runner.contextTokens - promptTokens + 1
        val advice = if (room > 0) "; answers of $room tokens fit" else ""
        throw BadRequest("$name: prompt and answer take $needed tokens, the context has ${runner.contextTokens}$advice")
    }
    followUpTokens(runner, task, promptTokens + task.tokens)
}
