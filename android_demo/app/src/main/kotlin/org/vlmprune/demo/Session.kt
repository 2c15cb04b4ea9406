package org.vlmprune.demo

import android.system.Os
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableStateFlow
import org.vlmprune.demo.bundles.BundleStore
import org.vlmprune.runtime.EngineOptions
import org.vlmprune.runtime.LoadProgress
import org.vlmprune.runtime.Runner
import org.vlmprune.runtime.benchmark.LoadCost
import org.vlmprune.runtime.benchmark.openTimed
import org.vlmprune.runtime.executorchModules
import org.vlmprune.runtime.manifest.PromptSpec
import org.vlmprune.runtime.manifest.Segment
import org.vlmprune.runtime.readManifest
import java.io.File
import java.nio.file.Path

/** The bundle that is loaded; one at a time, since two would not fit a phone's memory. */
class Session(private val state: MutableStateFlow<ModelState>, private val store: BundleStore) : AutoCloseable {
    var runner: Runner? = null
        private set
    var cost: LoadCost = LoadCost()
        private set

    /** Verifies, loads and warms up a bundle; what goes wrong becomes the state and is returned, and no bundle is loaded. */
    suspend fun load(folder: String): Problem? {
        close()
        val context = currentCoroutineContext()
        val path = File(folder).toPath()
        var name = File(folder).name
        try {
            name = readManifest(path).name
            state.value = ModelState.Verifying(name, 0f)
            checkPhone(path)
            val (opened, loadCost) = openTimed(path, EngineOptions(programs = executorchModules)) {
                context.ensureActive()
                state.value = preparing(name, it)
            }
            runner = opened
            cost = loadCost
            opened.warmUp { state.value = preparing(name, it) }
            state.value = ModelState.Ready(info(opened, folder))
            return null
        } catch (error: CancellationException) {
            close()
            throw error
        } catch (error: Throwable) {
            close()
            return problemOf(error).also { state.value = ModelState.Failed(name, it) }
        }
    }

    override fun close() {
        runner?.close()
        runner = null
        state.value = ModelState.None
    }

    /** Refuses what the phone cannot run before anything is loaded, when it could only say so by dying. */
    private fun checkPhone(path: Path) {
        val manifest = readManifest(path)
        val free = store.availableMemory()
        if (manifest.memory.peakBytes > free) {
            throw DemoException(Problem(ProblemKind.LOW_MEMORY, "${manifest.memory.peakBytes shr 20} MB / ${free shr 20} MB"))
        }
    }

    private fun info(runner: Runner, folder: String): ModelInfo {
        val manifest = runner.bundle.manifest
        val grid = manifest.grids.first()
        return ModelInfo(
            manifest.name, folder, manifest.target, manifest.quantisation,
            keptTokens = grid.keptTokens, visualTokens = grid.visualTokens,
            maxPhotos = manifest.prompt.mostImages(), followUps = manifest.prompt.followUp != null,
        )
    }

    companion object {
        /** ONNX Runtime reads this when its library is loaded, and would write and send telemetry without it. */
        fun switchTelemetryOff() = Os.setenv("ORT_DISABLE_TELEMETRY", "1", true)
    }
}

/** Verifying is most of the wait, and the stages share the rest. */
private fun preparing(name: String, progress: LoadProgress): ModelState = when (progress) {
    is LoadProgress.Verifying -> ModelState.Verifying(name, progress.fraction.toFloat())
    is LoadProgress.Loading -> ModelState.Loading(name, progress.stage, progress.nth.toFloat() / progress.stages)
    is LoadProgress.WarmingUp -> ModelState.WarmingUp(name, progress.prune)
}

/** Returns the most photos that a question may have, null for any number. */
private fun PromptSpec.mostImages(): Int? =
    segments.filterIsInstance<Segment.Images>().sumOf { it.most ?: return null }
