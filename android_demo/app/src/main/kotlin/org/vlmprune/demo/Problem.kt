package org.vlmprune.demo

import org.vlmprune.runtime.BadRequest
import org.vlmprune.runtime.BundleError
import org.vlmprune.runtime.EngineError
import java.io.IOException

/** What can go wrong, told apart by what a person has to do about it. */
enum class ProblemKind {
    OLD_BUNDLE, NEW_BUNDLE, CORRUPT_BUNDLE, NO_BUNDLE_IN_FOLDER, MISSING_LIBRARY, UNSUPPORTED_CPU,
    LOW_MEMORY, NO_SPACE, UNREADABLE_PHOTO, UNREADABLE_FILE, NOT_SAVED, NO_CAMERA, REFUSED_REQUEST, ENGINE_FAILED,
}

/** [detail] is what the sentence of the kind says more closely: a file, a number, or the engine's own words. */
data class Problem(val kind: ProblemKind, val detail: String = "")

/** A failure that the app has found itself, and not the runtime. */
class DemoException(val problem: Problem) : Exception(problem.toString())

/** Returns what to say about a failure; anything unknown is told in its own words. */
fun problemOf(error: Throwable): Problem = when (error) {
    is DemoException -> error.problem
    is BundleError -> bundleProblem(error)
    is BadRequest -> requestProblem(error.message.orEmpty())
    is LinkageError -> Problem(ProblemKind.MISSING_LIBRARY, error.message.orEmpty())
    is OutOfMemoryError -> Problem(ProblemKind.LOW_MEMORY)
    is EngineError -> engineProblem(error)
    is IOException -> fileProblem(error)
    is SecurityException -> Problem(ProblemKind.UNREADABLE_FILE, error.message.orEmpty())
    else -> Problem(ProblemKind.ENGINE_FAILED, error.message ?: error.javaClass.simpleName)
}

private fun bundleProblem(error: BundleError): Problem {
    val version = error.field == "schema" || error.field == "schema.major" || error.field == "schema_version"
    return when {
        version && "newer" in error.message.orEmpty() -> Problem(ProblemKind.NEW_BUNDLE)
        version -> Problem(ProblemKind.OLD_BUNDLE)
        else -> Problem(ProblemKind.CORRUPT_BUNDLE, error.message.orEmpty())
    }
}

private fun requestProblem(text: String) =
    Problem(if ("processor lacks" in text) ProblemKind.UNSUPPORTED_CPU else ProblemKind.REFUSED_REQUEST, text)

private fun engineProblem(error: EngineError): Problem {
    val text = error.message.orEmpty()
    val causes = generateSequence<Throwable>(error) { it.cause }
    val memory = listOf("bad_alloc", "allocate memory", "out of memory").any { it in text.lowercase() }
    val kind = when {
        causes.any { it is LinkageError } -> ProblemKind.MISSING_LIBRARY
        memory || causes.any { it is OutOfMemoryError } -> ProblemKind.LOW_MEMORY
        else -> ProblemKind.ENGINE_FAILED
    }
    return Problem(kind, text)
}

private fun fileProblem(error: IOException): Problem {
    val text = error.message.orEmpty()
    val full = "ENOSPC" in text || "No space left" in text
    return Problem(if (full) ProblemKind.NO_SPACE else ProblemKind.UNREADABLE_FILE, text)
}
