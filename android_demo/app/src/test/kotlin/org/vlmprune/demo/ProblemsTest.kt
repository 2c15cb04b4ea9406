package org.vlmprune.demo

import android.net.Uri
import androidx.activity.compose.setContent
import androidx.compose.runtime.mutableStateOf
import androidx.compose.ui.test.assertIsDisplayed
import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import androidx.compose.ui.test.onFirst
import androidx.compose.ui.test.onAllNodesWithText
import androidx.compose.ui.test.onNodeWithText
import androidx.compose.ui.test.performScrollTo
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.vlmprune.demo.ask.Phase
import org.vlmprune.demo.ui.DemoTheme
import org.vlmprune.demo.ui.ProblemCard
import org.vlmprune.demo.ui.advice
import org.vlmprune.demo.ui.title
import org.vlmprune.runtime.BadRequest
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.IOException
import java.security.MessageDigest
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream

/** What goes wrong is said in a sentence with what to do. */
@RunWith(RobolectricTestRunner::class)
class ProblemsTest {
    @get:Rule val rule = createEmptyComposeRule()
    private val phone = Phone(rule)

    @After fun close() = phone.close()

    /** Waits for a problem, whose sentence and advice are then on the screen. */
    private fun shows(kind: ProblemKind, problem: (UiState) -> Problem?) {
        phone.await("$kind is known") { problem(it)?.kind == kind }
        val found = problem(phone.state)!!
        for (text in listOf(phone.text(kind.title()), phone.text(kind.advice(), found.detail))) {
            rule.onAllNodesWithText(text).onFirst().performScrollTo().assertIsDisplayed()
        }
        phone.screenshot("problem-${kind.name.lowercase()}")
    }

    private fun loading(state: UiState) = (state.model as? ModelState.Failed)?.problem

    private fun ofBundle(state: UiState) = state.bundles.entries.single().problem

    private fun zip(vararg names: String): String {
        val bytes = ByteArrayOutputStream().also { out -> ZipOutputStream(out).use { zip -> names.forEach { zip.putNextEntry(ZipEntry(it)); zip.write(1) } } }
        val uri = Uri.parse("content://files/small.zip")
        shadowOf(phone.application.contentResolver).registerInputStreamSupplier(uri) { bytes.toByteArray().inputStream() }
        return uri.toString()
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
        shows(ProblemKind.OLD_BUNDLE, ::ofBundle)
    }

    @Test fun `a newer bundle`() {
        launchWith { manifest(it, "\"major\": ?2", "\"major\": 3") }
        shows(ProblemKind.NEW_BUNDLE, ::ofBundle)
    }

    @Test fun `a damaged bundle is refused while it is verified`() {
        launchWith { File(it, "tail.onnx").apply { writeBytes(readBytes().also { bytes -> bytes[100] = (bytes[100] + 1).toByte() }) } }
        shows(ProblemKind.CORRUPT_BUNDLE, ::loading)
    }

    @Test fun `a bundle is refused before it is loaded where memory is short`() {
        phone.memory(bytes = 1)
        launchWith { }
        shows(ProblemKind.LOW_MEMORY, ::loading)
    }

    @Test fun `a photo that is none`() {
        phone.launchReady()
        val uri = Uri.parse("content://media/picker/0/2")
        shadowOf(phone.application.contentResolver).registerInputStreamSupplier(uri) { "no picture".byteInputStream() }
        phone.send(UiEvent.AddPhotos(listOf(uri.toString())))
        shows(ProblemKind.UNREADABLE_PHOTO) { it.ask.problem }
    }

    @Test fun `a question that the bundle refuses`() {
        phone.launchReady().choose(File(GOLDEN, "image.png"))
        phone.ask("What is <image>?")
        shows(ProblemKind.REFUSED_REQUEST) { (it.ask.turns.single().answers.single().phase as? Phase.Failed)?.problem }
    }

    @Test fun `a zip file without a bundle`() {
        phone.launch()
        phone.send(UiEvent.ImportZip(zip("readme.txt")))
        shows(ProblemKind.NO_BUNDLE_IN_FOLDER) { it.bundles.problem }
    }

    @Test fun `a zip file that leads outside`() {
        phone.launch()
        phone.send(UiEvent.ImportZip(zip("bundle.json", "../../shared_prefs/evil")))
        shows(ProblemKind.UNREADABLE_FILE) { it.bundles.problem }
    }

    @Test fun `a copy without space`() {
        phone.space(bytes = 1 shl 20)
        phone.launch()
        phone.send(UiEvent.ImportZip(zip("bundle.json")))
        shows(ProblemKind.NO_SPACE) { it.bundles.problem }
    }

    @Test fun `a graph that the engine cannot read`() {
        launchWith { replace(it, "tail.onnx", "no graph".toByteArray()) }
        shows(ProblemKind.ENGINE_FAILED, ::loading)
    }

    @Test fun `an engine whose library is not in the app`() {
        launchWith { folder ->
            manifest(folder, "\"target\": ?\"onnx\"", "\"target\": \"executorch\"")
            replace(folder, "embed.onnx", ByteArray(40).also { "\u0000\u0000\u0000\u0000ET12eh00".toByteArray().copyInto(it) })
        }
        shows(ProblemKind.MISSING_LIBRARY, ::loading)
    }

    @Test fun `a phone without a camera app`() {
        phone.launch()
        shadowOf(phone.application).checkActivities(true)
        phone.click(phone.text(R.string.take_photo))
        shows(ProblemKind.NO_CAMERA) { it.ask.problem }
    }

    @Test fun `every problem has a sentence with what to do`() {
        phone.launch()
        val kind = mutableStateOf(ProblemKind.entries.first())
        phone.activity { activity -> activity.setContent { DemoTheme { ProblemCard(Problem(kind.value, "THE DETAIL")) } } }
        val sentences = ProblemKind.entries.map { each ->
            kind.value = each
            rule.waitForIdle()
            val (title, advice) = phone.text(each.title()) to phone.text(each.advice(), "THE DETAIL")
            rule.onNodeWithText(title).assertIsDisplayed()
            rule.onNodeWithText(advice).assertIsDisplayed()
            listOf(title, advice)
        }
        assertEquals(2 * ProblemKind.entries.size, sentences.flatten().toSet().size)
    }

    /** Puts other bytes in the place of a file, and says so in the manifest. */
    private fun replace(folder: File, name: String, bytes: ByteArray) {
        File(folder, name).writeBytes(bytes)
        val sha256 = MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }
        manifest(folder, "(\"${Regex.escape(name)}\": ?\\{\\s*\"size_bytes\": ?)\\d+(,\\s*\"sha256\": ?\")[0-9a-f]+", "$1${bytes.size}$2$sha256")
    }

    @Test fun `failures become the problem that a person can do something about`() {
        assertEquals(ProblemKind.MISSING_LIBRARY, problemOf(UnsatisfiedLinkError("no onnxruntime4j_jni")).kind)
        assertEquals(ProblemKind.LOW_MEMORY, problemOf(OutOfMemoryError()).kind)
        assertEquals(ProblemKind.NO_SPACE, problemOf(IOException("write failed: ENOSPC (No space left on device)")).kind)
        assertEquals(ProblemKind.ENGINE_FAILED, problemOf(IllegalStateException("x")).kind)
        assertEquals(ProblemKind.UNREADABLE_FILE, problemOf(SecurityException("no grant")).kind)
        assertEquals(ProblemKind.UNSUPPORTED_CPU, problemOf(BadRequest("this processor lacks the atomic instructions")).kind)
    }
}
