package org.vlmprune.demo

import android.content.Intent
import android.net.Uri
import android.os.PowerManager
import androidx.compose.ui.test.assertIsDisplayed
import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import androidx.compose.ui.test.onNodeWithText
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.performScrollTo
import androidx.core.content.IntentCompat
import com.networknt.schema.InputFormat
import com.networknt.schema.JsonSchemaFactory
import com.networknt.schema.SpecVersion
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowLog
import org.vlmprune.demo.benchmark.Disturbance
import org.vlmprune.demo.benchmark.ReportFormat
import org.vlmprune.demo.benchmark.RunState
import org.vlmprune.demo.benchmark.Waiting
import org.vlmprune.demo.benchmark.change
import org.vlmprune.demo.benchmark.text
import org.vlmprune.demo.benchmark.toCsv
import java.io.ByteArrayOutputStream
import java.io.File

@RunWith(RobolectricTestRunner::class)
class BenchmarkTest {
    @get:Rule val rule = createEmptyComposeRule()
    private val phone = Phone(rule)
    private val schema = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(File(System.getProperty("benchmark.schema")!!).readText())

    @After fun close() = phone.close()

    private fun measured(): UiState {
        rule.onNodeWithText(phone.text(R.string.start)).performScrollTo().performClick()
        phone.await("it is measured", 90) { it.benchmark.run == RunState.Idle && it.benchmark.shown != null }
        return phone.state
    }

    @Test fun `it finishes, its record fits the schema, and the next is compared with it`() {
        phone.launchReady().choose(File(GOLDEN, "image.png"))
        phone.send(UiEvent.Open(Screen.BENCHMARK))
        phone.send(UiEvent.SetPairs(3))
        val first = measured().benchmark.shown!!
        assertEquals(emptySet<Any>(), schema.validate(first.json, InputFormat.JSON))
        assertEquals(3, first.pairs)
        assertTrue(first.moments.size > 6)
        assertTrue("tail,pruned" in first.toCsv())
        phone.send(UiEvent.SetBaseline(first.id))
        rule.onNodeWithText(phone.text(R.string.start)).performScrollTo().performClick()
        phone.await("the second is measured", 90) { it.benchmark.reports.size == 2 && it.benchmark.run == RunState.Idle }
        val state = phone.state.benchmark
        assertNotNull(state.shown!!.rows.first().change(state.baseline, pruned = true))
        phone.screenshot("benchmark-report")
        phone.scenario.recreate()
        assertEquals(2, phone.state.benchmark.reports.size)
    }

    @Test fun `a measurement is shared as text, and saved as a JSON and as a CSV file`() {
        phone.launchReady()
        phone.send(UiEvent.Open(Screen.BENCHMARK))
        phone.send(UiEvent.SetPairs(3))
        val report = measured().benchmark.shown!!
        for (format in ReportFormat.entries) {
            phone.click(phone.text(R.string.share_as, format.name))
            val chooser = phone.activity { shadowOf(it).nextStartedActivityForResult.intent }
            val shared = IntentCompat.getParcelableExtra(chooser, Intent.EXTRA_INTENT, Intent::class.java)!!
            assertEquals(report.text(format), shared.getStringExtra(Intent.EXTRA_TEXT))
            val uri = Uri.parse("content://documents/${format.name}")
            val file = ByteArrayOutputStream()
            shadowOf(phone.application.contentResolver).registerOutputStreamSupplier(uri) { file }
            phone.click(phone.text(R.string.save_as, format.name))
            val asked = phone.answered(Intent().setData(uri))
            assertEquals(listOf(Intent.ACTION_CREATE_DOCUMENT, format.mimeType), listOf(asked.action, asked.type))
            assertTrue(asked.getStringExtra(Intent.EXTRA_TITLE)!!.endsWith(".${format.name.lowercase()}"))
            phone.await("the file is written") { file.toString("UTF-8") == report.text(format) }
        }
        val full = Uri.parse("content://documents/full")
        shadowOf(phone.application.contentResolver).registerOutputStreamSupplier(full) { throw IllegalStateException("no space") }
        phone.click(phone.text(R.string.save_as, ReportFormat.JSON.name))
        phone.answered(Intent().setData(full))
        phone.await("the failure is known") { it.benchmark.problem == Problem(ProblemKind.NOT_SAVED, "no space") }
        rule.onNodeWithText(phone.text(R.string.problem_save)).performScrollTo().assertIsDisplayed()
    }

    @Test fun `it stops at once`() {
        phone.launchReady()
        phone.send(UiEvent.Open(Screen.BENCHMARK))
        phone.send(UiEvent.SetPairs(30))
        phone.send(UiEvent.StartBenchmark)
        phone.await("it runs") { it.benchmark.run is RunState.Running }
        phone.screenshot("benchmark-running")
        phone.send(UiEvent.StopBenchmark)
        phone.await("it has stopped") { it.benchmark.run == RunState.Idle }
        assertEquals(null, phone.state.benchmark.shown)
    }

    @Test fun `it waits while the phone is hot, and says so`() {
        val power = phone.application.getSystemService(PowerManager::class.java)
        phone.launchReady()
        phone.send(UiEvent.Open(Screen.BENCHMARK))
        phone.send(UiEvent.SetPairs(3))
        shadowOf(power).setCurrentThermalStatus(PowerManager.THERMAL_STATUS_SEVERE)
        phone.send(UiEvent.StartBenchmark)
        phone.await("it waits") { (it.benchmark.run as? RunState.Running)?.waiting == Waiting.HOT }
        phone.screenshot("benchmark-hot")
        shadowOf(power).setCurrentThermalStatus(PowerManager.THERMAL_STATUS_NONE)
        phone.await("it is measured", 90) { it.benchmark.shown != null && it.benchmark.run == RunState.Idle }
        assertTrue(Disturbance.WAITED_FOR_HEAT in phone.state.benchmark.shown!!.disturbances)
    }

    @Test fun `a script starts it, and finds the record and a line in the log`() {
        val pushed = File(phone.application.getExternalFilesDir("bundles"), "pushed")
        File(GOLDEN, "bundle").copyRecursively(pushed)
        File(GOLDEN, "image.png").copyTo(File(phone.application.getExternalFilesDir("images"), "image.png"))
        val intent = Intent(phone.application, MainActivity::class.java).putExtra("bundle", "pushed").putExtra("pairs", 3)
            .putExtra("image", "image.png").putExtra("record", "1.json").putExtra("prompt", "why?")
        phone.launch(intent)
        val record = File(phone.application.getExternalFilesDir("records"), "1.json")
        phone.await("the record is written", 90) { record.exists() }
        assertEquals(emptySet<Any>(), schema.validate(record.readText(), InputFormat.JSON))
        phone.await("the log says so") { logged().last() == "1.json written $record" }
        assertEquals("1.json loading", logged().first())
        assertTrue("1.json progress 5/5" in logged())
    }

    @Test fun `a script that names no bundle is told so`() {
        phone.launch(Intent(phone.application, MainActivity::class.java).putExtra("bundle", "none").putExtra("record", "2.json"))
        phone.await("the log says so") { logged().isNotEmpty() && logged().last().startsWith("2.json failed") }
    }

    private fun logged() = ShadowLog.getLogsForTag("vlmprune").map { it.msg }
}
