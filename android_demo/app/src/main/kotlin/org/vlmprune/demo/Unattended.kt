package org.vlmprune.demo

import android.content.Context
import android.content.Intent
import android.util.Log
import kotlinx.coroutines.CancellationException
import org.vlmprune.demo.ask.BitmapDecoder
import org.vlmprune.demo.benchmark.BenchmarkRun
import org.vlmprune.demo.benchmark.RunState
import org.vlmprune.demo.benchmark.drawnPicture
import org.vlmprune.demo.bundles.BundleStore
import org.vlmprune.runtime.ImageSource
import org.vlmprune.runtime.PictureFile
import org.vlmprune.runtime.benchmark.BenchmarkRequest
import java.io.File

private const val TAG = "vlmprune"
private const val DEFAULT_RECORD = "record.json"
private const val DEFAULT_PROMPT = "What is in the picture?"
private const val DEFAULT_PAIRS = 10

/**
 * A benchmark that a script asks for with `am start`: [bundle] is a folder's name below `files/bundles`, [image] a file's
 * below `files/images`, and the result goes to [record] below `files/records`, all in the app's files on the storage.
 */
data class UnattendedRequest(val bundle: String, val pairs: Int, val prompt: String, val image: String?, val record: String) {
    companion object {
        /** Returns the request in an intent's extras, or null for an intent without one. */
        fun of(intent: Intent): UnattendedRequest? {
            val bundle = intent.getStringExtra("bundle") ?: return null
            return UnattendedRequest(
                bundle, intent.getIntExtra("pairs", DEFAULT_PAIRS), intent.getStringExtra("prompt") ?: DEFAULT_PROMPT,
                intent.getStringExtra("image"), File(intent.getStringExtra("record") ?: DEFAULT_RECORD).name,
            )
        }
    }
}

/** Runs such a benchmark; each line that it logs begins with the record's name, so that a script finds its own. */
class Unattended(private val context: Context) {
    suspend fun run(request: UnattendedRequest, store: BundleStore, session: Session, benchmark: BenchmarkRun) {
        say(request, "loading")
        try {
            store.refresh()
            val problem = measured(request, store, session, benchmark)
            if (problem == null) say(request, "written ${recordFile(request)}") else say(request, "failed ${sentence(problem)}")
        } catch (error: CancellationException) {
            say(request, "failed the app was closed")
            throw error
        }
    }

    /** Returns what went wrong, null if the record is written. */
    private suspend fun measured(request: UnattendedRequest, store: BundleStore, session: Session, benchmark: BenchmarkRun): Problem? {
        val bundle = store.find(request.bundle) ?: return Problem(ProblemKind.UNREADABLE_FILE, "bundles/${request.bundle}")
        val failure = session.load(bundle.folder)
        val runner = session.runner ?: return failure
        return try {
            val task = BenchmarkRequest(listOf(picture(request)), request.prompt, repetitions = request.pairs)
            val report = benchmark.run(runner, session.cost, task) { done, runs -> say(request, "progress ${(done + 1) / 2}/${runs / 2}") } ?: return benchmark.failure()
            val out = recordFile(request)
            val partial = File(out.path + ".partial").apply { writeText(report.json) }
            if (partial.renameTo(out)) null else Problem(ProblemKind.NO_SPACE, out.path)
        } catch (error: CancellationException) {
            throw error
        } catch (error: Exception) {
            problemOf(error)
        }
    }

    private fun recordFile(request: UnattendedRequest) = File(context.getExternalFilesDir("records"), request.record)

    private fun picture(request: UnattendedRequest): ImageSource {
        val name = request.image ?: return drawnPicture()
        return PictureFile(name, File(context.getExternalFilesDir("images"), File(name).name).readBytes(), BitmapDecoder)
    }

    private fun say(request: UnattendedRequest, text: String) = Log.i(TAG, "${request.record} $text")
}

/** Returns the problem in one line for a log, which scripts read and no person chooses the language of. */
private fun sentence(problem: Problem): String = "${problem.kind.name.lowercase().replace('_', ' ')}: ${problem.detail}".lineSequence().first()

private fun BenchmarkRun.failure(): Problem? = (runState as? RunState.Failed)?.problem
