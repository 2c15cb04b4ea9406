package org.vlmprune.demo

import android.net.Uri
import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
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

    @Test fun `the merged manifest asks for no permission and has no provider`() {
        val document = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(File(System.getProperty("merged.manifest")!!))
        for (tag in listOf("uses-permission", "permission", "provider", "service", "receiver")) assertEquals(tag, 0, document.getElementsByTagName(tag).length)
        assertTrue(document.getElementsByTagName("activity").length >= 1)
        assertEquals("1", System.getenv("ORT_DISABLE_TELEMETRY"))
    }
}
