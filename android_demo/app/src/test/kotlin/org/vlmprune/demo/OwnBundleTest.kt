package org.vlmprune.demo

import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import org.junit.After
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.annotation.Config
import org.vlmprune.demo.ask.Mode
import org.vlmprune.demo.ask.Phase
import java.io.File
import java.nio.file.Files

/** Shows the app with a bundle of one's own: VLMPRUNE_BUNDLE is its folder; without it there is nothing to do. */
@RunWith(RobolectricTestRunner::class)
class OwnBundleTest {
    @get:Rule val rule = createEmptyComposeRule()
    private val phone = Phone(rule)
    private val bundle = System.getenv("VLMPRUNE_BUNDLE")

    @After fun close() = phone.close()

    @Test @Config(qualifiers = "w411dp-h1300dp-xhdpi") fun light() = asked("own-light")

    private fun asked(name: String) {
        assumeTrue("VLMPRUNE_BUNDLE is not set", bundle != null)
        val link = File(phone.application.filesDir, "bundles/own").apply { parentFile!!.mkdirs() }
        Files.createSymbolicLink(link.toPath(), File(bundle!!).toPath().toRealPath())
        phone.launch()
        phone.await("the bundle is loaded", 300) { it.model is ModelState.Ready }
        phone.choose(File(GOLDEN, "../../runtime/vlmprune_runtime/sample.jpg"))
        phone.send(UiEvent.ChooseMode(Mode.BOTH))
        phone.ask("Is the dog left of the bus?")
        phone.await("it has answered", 300) { state -> state.ask.turns.last().answers.let { it.size == 2 && it.all { answer -> answer.phase is Phase.Done } } }
        assertTrue(phone.state.ask.keptCount > 0)
        phone.screenshot("$name-ask")
        phone.send(UiEvent.ShowKept(phone.state.ask.keptCount / 2))
        phone.screenshot("$name-order")
        phone.send(UiEvent.Open(Screen.BUNDLES))
        phone.screenshot("$name-bundles")
        phone.send(UiEvent.Open(Screen.BENCHMARK))
        phone.send(UiEvent.SetPairs(3))
        phone.send(UiEvent.StartBenchmark)
        phone.await("it is measured", 400) { it.benchmark.shown != null }
        phone.screenshot("$name-benchmark")
    }
}
