package org.vlmprune.demo

import androidx.compose.ui.test.assertIsDisplayed
import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import androidx.compose.ui.test.onFirst
import androidx.compose.ui.test.onAllNodesWithText
import androidx.compose.ui.test.performScrollTo
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.vlmprune.demo.ui.title
import org.vlmprune.runtime.BadRequest
import java.io.File
import java.io.IOException

/** What goes wrong is said in a sentence with what to do. */
@RunWith(RobolectricTestRunner::class)
class ProblemsTest {
    @get:Rule val rule = createEmptyComposeRule()
    private val phone = Phone(rule)

    @After fun close() = phone.close()

    private fun shows(kind: ProblemKind) {
        rule.waitForIdle()
        rule.onAllNodesWithText(phone.text(kind.title())).onFirst().performScrollTo().assertIsDisplayed()
        phone.screenshot("problem-${kind.name.lowercase()}")
    }

    private fun launchWith(edit: (File) -> Unit) {
        edit(phone.install(File(GOLDEN, "bundle")))
        phone.launch()
        phone.send(UiEvent.Open(Screen.BUNDLES))
        phone.await("the bundle is looked at") { it.bundles.entries.isNotEmpty() }
    }

    private fun manifest(folder: File, old: String, new: String) = File(folder, "bundle.json").let { file ->
        val text = file.readText()
        check(Regex(old) in text)
        file.writeText(text.replace(Regex(old), new))
    }

    @Test fun `an older bundle`() {
        launchWith { manifest(it, "\"major\": ?2", "\"major\": 1") }
        shows(ProblemKind.OLD_BUNDLE)
    }

    @Test fun `a newer bundle`() {
        launchWith { manifest(it, "\"major\": ?2", "\"major\": 3") }
        shows(ProblemKind.NEW_BUNDLE)
    }

    @Test fun `a damaged bundle is refused while it is verified`() {
        launchWith { File(it, "tail.onnx").apply { writeBytes(readBytes().also { bytes -> bytes[100] = (bytes[100] + 1).toByte() }) } }
        phone.await("it is refused") { it.model is ModelState.Failed }
        shows(ProblemKind.CORRUPT_BUNDLE)
    }

    @Test fun `a bundle is refused before it is loaded where memory is short`() {
        phone.memory(bytes = 1)
        launchWith { }
        phone.await("it is refused") { it.model is ModelState.Failed }
        shows(ProblemKind.LOW_MEMORY)
    }

    @Test fun `a photo that is none`() {
        phone.launchReady()
        val uri = android.net.Uri.parse("content://media/picker/0/2")
        shadowOf(phone.application.contentResolver).registerInputStreamSupplier(uri) { "no picture".byteInputStream() }
        phone.send(UiEvent.AddPhotos(listOf(uri.toString())))
        phone.await("it is refused") { it.ask.problem != null }
        shows(ProblemKind.UNREADABLE_PHOTO)
    }

    @Test fun `a question that the bundle refuses`() {
        phone.launchReady().choose(File(GOLDEN, "image.png"))
        phone.ask("What is <image>?")
        phone.finishedAnswers(1)
        shows(ProblemKind.REFUSED_REQUEST)
    }

    @Test fun `a folder without a bundle`() {
        phone.launch()
        val zip = java.io.ByteArrayOutputStream().also { bytes ->
            java.util.zip.ZipOutputStream(bytes).use { it.putNextEntry(java.util.zip.ZipEntry("readme.txt")); it.write(1) }
        }.toByteArray()
        val uri = android.net.Uri.parse("content://files/other.zip")
        shadowOf(phone.application.contentResolver).registerInputStreamSupplier(uri) { zip.inputStream() }
        phone.send(UiEvent.ImportZip(uri.toString()))
        phone.await("it is refused") { it.bundles.problem != null }
        shows(ProblemKind.NO_BUNDLE_IN_FOLDER)
    }

    @Test fun `a copy without space`() {
        phone.space(bytes = 1 shl 20)
        phone.launch()
        val uri = android.net.Uri.parse("content://files/small.zip")
        val zip = java.io.ByteArrayOutputStream().also { bytes ->
            java.util.zip.ZipOutputStream(bytes).use { it.putNextEntry(java.util.zip.ZipEntry("bundle.json")); it.write(1) }
        }.toByteArray()
        shadowOf(phone.application.contentResolver).registerInputStreamSupplier(uri) { zip.inputStream() }
        phone.send(UiEvent.ImportZip(uri.toString()))
        phone.await("it is refused") { it.bundles.problem != null }
        shows(ProblemKind.NO_SPACE)
    }

    @Test fun `failures become the problem that a person can do something about`() {
        assertEquals(ProblemKind.MISSING_LIBRARY, problemOf(UnsatisfiedLinkError("no onnxruntime4j_jni")).kind)
        assertEquals(ProblemKind.LOW_MEMORY, problemOf(OutOfMemoryError()).kind)
        assertEquals(ProblemKind.NO_SPACE, problemOf(IOException("write failed: ENOSPC (No space left on device)")).kind)
        assertEquals(ProblemKind.ENGINE_FAILED, problemOf(IllegalStateException("x")).kind)
        assertEquals(ProblemKind.UNSUPPORTED_CPU, problemOf(BadRequest("this processor lacks the atomic instructions")).kind)
    }
}
