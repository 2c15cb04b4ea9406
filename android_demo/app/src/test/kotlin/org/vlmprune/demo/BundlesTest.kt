package org.vlmprune.demo

import android.content.Intent
import android.net.Uri
import android.provider.DocumentsContract
import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.vlmprune.demo.bundles.Origin
import java.io.ByteArrayOutputStream
import java.io.File
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import javax.xml.parsers.DocumentBuilderFactory

@RunWith(RobolectricTestRunner::class)
class BundlesTest {
    @get:Rule val rule = createEmptyComposeRule()
    private val phone = Phone(rule)

    @After fun close() = phone.close()

    private fun zipped(prefix: String, vararg extra: String): Uri {
        val bytes = ByteArrayOutputStream().also { out ->
            ZipOutputStream(out).use { zip ->
                for (file in File(GOLDEN, "bundle").listFiles()!!) {
                    zip.putNextEntry(ZipEntry(prefix + file.name))
                    zip.write(file.readBytes())
                }
                for (name in extra) zip.putNextEntry(ZipEntry(name)).also { zip.write(1) }
            }
        }.toByteArray()
        val uri = Uri.parse("content://files/small.zip")
        shadowOf(phone.application.contentResolver).registerInputStreamSupplier(uri) { bytes.inputStream() }
        return uri
    }

    @Test fun `a zip file is copied, verified, loaded and deleted`() {
        phone.launch()
        phone.send(UiEvent.ImportZip(zipped("small/").toString()))
        phone.await("it is loaded") { it.model is ModelState.Ready }
        val entry = phone.state.bundles.entries.single()
        assertEquals(Origin.COPIED, entry.origin)
        assertEquals("small", File(entry.folder).name)
        phone.send(UiEvent.DeleteBundle(entry.folder))
        phone.await("it is gone") { it.bundles.entries.isEmpty() && it.model == ModelState.None }
        assertFalse(File(entry.folder).exists())
    }

    @Test fun `the folder that the system's picker gives is copied with its folders`() {
        val shared = File(phone.application.cacheDir, "shared").also { File(GOLDEN, "bundle").copyRecursively(File(it, "small")) }
        File(shared, "small/notes").mkdirs()
        File(shared, "small/notes/read.txt").writeText("for people")
        FakeDocuments.provide(shared)
        phone.launch()
        phone.send(UiEvent.Open(Screen.BUNDLES))
        phone.click(phone.text(R.string.from_folder))
        val asked = phone.answered(Intent().setData(DocumentsContract.buildTreeDocumentUri(FakeDocuments.AUTHORITY, "small")))
        assertEquals(Intent.ACTION_OPEN_DOCUMENT_TREE, asked.action)
        phone.await("it is loaded") { it.model is ModelState.Ready }
        val entry = phone.state.bundles.entries.single()
        assertEquals("small" to Origin.COPIED, File(entry.folder).name to entry.origin)
        val copied = File(entry.folder).walk().filter { it.isFile }.associate { it.relativeTo(File(entry.folder)).path to it.readText() }
        assertEquals(File(shared, "small").walk().filter { it.isFile }.associate { it.relativeTo(File(shared, "small")).path to it.readText() }, copied)
    }

    @Test fun `a folder without a bundle, or of an app that has gone, is refused`() {
        val shared = File(phone.application.cacheDir, "shared").apply { File(this, "empty").mkdirs() }
        FakeDocuments.provide(shared)
        phone.launch()
        phone.send(UiEvent.ImportFolder(DocumentsContract.buildTreeDocumentUri(FakeDocuments.AUTHORITY, "empty").toString()))
        phone.await("it is refused") { it.bundles.problem?.kind == ProblemKind.NO_BUNDLE_IN_FOLDER && it.bundles.copying == null }
        phone.send(UiEvent.ImportFolder(DocumentsContract.buildTreeDocumentUri("gone", "small").toString()))
        phone.await("it is refused") { it.bundles.problem?.kind == ProblemKind.UNREADABLE_FILE }
    }

    @Test fun `a copy goes on where it was stopped`() {
        val partial = File(phone.application.filesDir, "bundles/small.partial").apply { mkdirs() }
        val there = File(GOLDEN, "bundle/tail.onnx").copyTo(File(partial, "tail.onnx"))
        val before = there.apply { setLastModified(1_000_000) }.lastModified()
        phone.launch()
        phone.send(UiEvent.ImportZip(zipped("").toString()))
        phone.await("it is loaded") { it.model is ModelState.Ready }
        assertEquals(before, File(phone.application.filesDir, "bundles/small/tail.onnx").lastModified())
    }

    @Test fun `a zip file that leads outside is refused`() {
        phone.launch()
        phone.send(UiEvent.ImportZip(zipped("", "../../shared_prefs/evil").toString()))
        phone.await("it is refused") { it.bundles.problem != null }
        assertEquals(ProblemKind.UNREADABLE_FILE, phone.state.bundles.problem!!.kind)
    }

    @Test fun `a bundle that adb pushed is found`() {
        File(GOLDEN, "bundle").copyRecursively(File(phone.application.getExternalFilesDir("bundles"), "pushed"))
        phone.launch()
        phone.await("it is loaded") { it.model is ModelState.Ready }
        assertEquals(Origin.PUSHED, phone.state.bundles.entries.single().origin)
    }

    @Test fun `no permission and no component but the activity is left of what libraries bring, ONNX Runtime's telemetry included`() {
        for (name in listOf("merged.manifest", "merged.manifest.with.telemetry")) {
            val file = System.getProperty(name)
            assumeTrue("Gradle names no merged manifest", file != null)
            val document = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(File(file!!))
            for (tag in listOf("uses-permission", "permission", "provider", "service", "receiver")) {
                assertEquals("$name: $tag", 0, document.getElementsByTagName(tag).length)
            }
            assertTrue(document.getElementsByTagName("activity").length >= 1)
        }
        assertEquals("1", System.getenv("ORT_DISABLE_TELEMETRY"))
    }
}
