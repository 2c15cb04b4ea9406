package org.vlmprune.demo

import android.app.Activity
import android.content.ClipboardManager
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Color
import android.net.Uri
import android.provider.MediaStore
import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.test.assertIsDisplayed
import androidx.compose.ui.test.hasClickAction
import androidx.compose.ui.test.hasText
import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import androidx.compose.ui.test.onAllNodesWithContentDescription
import androidx.compose.ui.test.onLast
import androidx.compose.ui.test.onNodeWithContentDescription
import androidx.compose.ui.test.onNodeWithText
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.performScrollTo
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.vlmprune.demo.ask.Mode
import org.vlmprune.demo.ask.Phase
import org.vlmprune.demo.ask.savedSeconds
import java.io.ByteArrayInputStream
import java.io.File

private const val QUESTION = "What is in the picture?"

@RunWith(RobolectricTestRunner::class)
class AskTest {
    @get:Rule val rule = createEmptyComposeRule()
    private val phone = Phone(rule)
    private val picture = File(GOLDEN, "image.png")

    @After fun close() = phone.close()

    private fun answer() = phone.state.ask.turns.last().answers.last()

    @Test fun `answers are Python's, pruned and unpruned, and a rotation keeps them`() {
        val golden = goldenAnswers().filter { it.prompt == QUESTION }
        phone.launchReady().choose(picture)
        for (expected in golden) {
            phone.send(UiEvent.NewConversation)
            phone.send(UiEvent.ChooseMode(if (expected.prune) Mode.PRUNED else Mode.UNPRUNED))
            phone.ask(expected.prompt)
            phone.finishedAnswers(1)
            assertEquals(Phase.Done(cut = false), answer().phase)
            assertEquals(expected.text, answer().text)
            assertNotNull(answer().measured)
        }
        RuntimeEnvironment.setQualifiers("+land")
        phone.scenario.recreate()
        rule.onNodeWithText(QUESTION).performScrollTo().assertIsDisplayed()
        assertEquals(golden.last().text, answer().text)
        phone.screenshot("ask-landscape")
    }

    @Test fun `the kept tokens are Python's, in the order of choice`() {
        phone.launchReady().choose(picture)
        phone.ask(QUESTION)
        phone.finishedAnswers(1)
        val view = phone.state.ask.kept.single()
        val cells = view.patches.map { patch ->
            val column = ((patch.box.center.x - view.seen.left) / view.seen.width * 4).toInt()
            4 * ((patch.box.center.y - view.seen.top) / view.seen.height * 4).toInt() + column
        }
        assertEquals(goldenAnswers().first { it.prompt == QUESTION && it.prune }.chosen, cells)
    }

    @Test fun `the photo stays bright where a token was kept, and nowhere else`() {
        val white = File(phone.application.cacheDir, "white.png")
        val bitmap = Bitmap.createBitmap(64, 64, Bitmap.Config.ARGB_8888).apply { eraseColor(Color.WHITE) }
        white.outputStream().use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
        phone.launchReady().choose(white)
        phone.ask(QUESTION)
        phone.finishedAnswers(1)
        val patches = phone.state.ask.kept.single().patches
        for (count in listOf(patches.size, 2, 0)) {
            phone.send(UiEvent.ShowKept(count))
            val expected = patches.take(count).map { cellOf(it.box.center) }.toSet()
            assertEquals("the first $count", expected, brightCells(count, patches.size))
        }
    }

    private fun cellOf(centre: Offset) = 4 * (centre.y * 4).toInt() + (centre.x * 4).toInt()

    /** Returns the places of the 4 x 4 tokens that are white on the screen. */
    private fun brightCells(shown: Int, kept: Int): Set<Int> {
        val description = phone.application.resources.getQuantityString(R.plurals.kept_description, kept, shown, kept)
        val node = rule.onNodeWithContentDescription(description).performScrollTo().fetchSemanticsNode()
        val box = node.boundsInWindow
        val bitmap = phone.screenshot("ask-overlay-$shown")
        return (0 until 16).filter { cell ->
            val x = box.left + box.width * (cell % 4 + 0.5f) / 4
            val y = box.top + box.height * (cell / 4 + 0.5f) / 4
            bitmap.getPixel(x.toInt(), y.toInt()) == Color.WHITE
        }.toSet()
    }

    @Test fun `both modes are compared with the seconds saved, and copied`() {
        phone.launchReady().choose(picture)
        phone.send(UiEvent.ChooseMode(Mode.BOTH))
        phone.ask(QUESTION)
        phone.finishedAnswers(2)
        val golden = goldenAnswers().filter { it.prompt == QUESTION }.associate { it.prune to it.text }
        assertEquals(golden, phone.state.ask.turns.last().answers.associate { it.pruned to it.text })
        assertNotNull(phone.state.ask.turns.last().savedSeconds())
        phone.screenshot("ask-both")
        rule.onAllNodesWithContentDescription(phone.text(R.string.copy_answer)).onLast().performScrollTo().performClick()
        val clipboard = phone.application.getSystemService(ClipboardManager::class.java)
        assertEquals(golden[true], clipboard.primaryClip!!.getItemAt(0).text.toString())
    }

    @Test fun `a follow-up about two photos is answered as in Python`() {
        phone.launchReady("bundle_two_pictures").choose(File(GOLDEN, "two_pictures/first.png"), File(GOLDEN, "two_pictures/second.png"))
        phone.send(UiEvent.ChooseMode(Mode.UNPRUNED))
        val talk = goldenConversation(prune = false)
        talk.forEachIndexed { nth, (question, _) ->
            phone.ask(question)
            phone.finishedAnswers(nth + 1)
        }
        assertEquals(talk, phone.state.ask.turns.map { it.question to it.answers.single().text })
        phone.screenshot("ask-follow-up")
    }

    @Test fun `stop ends an answer, and the next question works`() {
        phone.launchReady().choose(picture)
        val photo = File(phone.application.filesDir, "photos").listFiles()!!.single()
        check(photo.delete() && ProcessBuilder("mkfifo", photo.path).start().waitFor() == 0) // whoever reads it waits for its bytes
        phone.ask(QUESTION)
        phone.await("it is asked") { it.ask.running }
        phone.send(UiEvent.StopAnswer)
        photo.writeBytes(picture.readBytes())
        phone.await("it has stopped") { !it.ask.running }
        assertEquals(Phase.Stopped, answer().phase)
        check(photo.delete())
        picture.copyTo(photo)
        phone.send(UiEvent.NewConversation)
        phone.ask(QUESTION)
        phone.finishedAnswers(1)
        assertEquals(Phase.Done(cut = false), answer().phase)
    }

    @Test fun `a photo that is gone is said with the answer`() {
        phone.launchReady().choose(picture)
        check(File(phone.application.filesDir, "photos").listFiles()!!.single().delete())
        phone.ask(QUESTION)
        phone.finishedAnswers(1)
        assertEquals(ProblemKind.UNREADABLE_FILE, (answer().phase as Phase.Failed).problem.kind)
    }

    @Test fun `what is saved outlives the process`() {
        phone.launchReady().choose(picture)
        phone.send(UiEvent.ChooseMode(Mode.BOTH))
        phone.ask(QUESTION)
        phone.finishedAnswers(2)
        phone.send(UiEvent.EditQuestion("And then?"))
        phone.send(UiEvent.SetPairs(30))
        phone.send(UiEvent.SetBenchmarkPrompt("why?"))
        phone.send(UiEvent.Open(Screen.BENCHMARK))
        val before = phone.state
        phone.endProcess()
        phone.await("the bundle is loaded again") { it.model is ModelState.Ready && it.ask.photos.isNotEmpty() }
        val after = phone.state
        fun said(state: UiState) = state.ask.turns.map { turn -> turn.question to turn.answers.map { Triple(it.pruned, it.text, it.phase) } }
        assertEquals(said(before), said(after))
        assertEquals(before.ask.run { listOf(question, mode, kept, shownKept) }, after.ask.run { listOf(question, mode, kept, shownKept) })
        assertEquals(listOf(Screen.BENCHMARK, 30, "why?"), listOf(after.screen, after.benchmark.pairs, after.benchmark.prompt))
        phone.send(UiEvent.Open(Screen.ASK))
        phone.ask(QUESTION)
        phone.finishedAnswers(4)
        assertEquals(said(after).single(), said(phone.state).last())
        phone.screenshot("ask-restored")
    }

    @Test fun `the picker and the camera give photos without a permission`() {
        phone.launchReady()
        rule.onNode(hasText(phone.text(R.string.choose_photos)) and hasClickAction()).performClick()
        val picker = phone.activity { shadowOf(it).nextStartedActivityForResult }
        assertEquals(MediaStore.ACTION_PICK_IMAGES, picker.intent.action)
        val uri = Uri.parse("content://media/picker/0/1")
        shadowOf(phone.application.contentResolver).registerInputStreamSupplier(uri) { ByteArrayInputStream(picture.readBytes()) }
        phone.activity { shadowOf(it).receiveResult(picker.intent, Activity.RESULT_OK, Intent().setData(uri)) }
        phone.await("the photo is there") { it.ask.photos.size == 1 }
        rule.onNode(hasText(phone.text(R.string.take_photo)) and hasClickAction()).performScrollTo().performClick()
        val camera = phone.activity { shadowOf(it).nextStartedActivityForResult }
        assertEquals(MediaStore.ACTION_IMAGE_CAPTURE, camera.intent.action)
        assertTrue(camera.intent.hasExtra(MediaStore.EXTRA_OUTPUT))
        assertNotEquals(0, camera.intent.flags and Intent.FLAG_GRANT_WRITE_URI_PERMISSION)
    }
}
