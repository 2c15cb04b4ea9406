package org.vlmprune.demo

import androidx.compose.ui.semantics.SemanticsProperties
import androidx.compose.ui.semantics.getOrNull
import androidx.compose.ui.test.hasClickAction
import androidx.compose.ui.test.hasSetTextAction
import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import androidx.compose.ui.test.onRoot
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.vlmprune.demo.ask.Mode
import java.io.File

/** Every screen in every dress: a screenshot of each is written, to be looked at, and its controls are measured. */
@RunWith(RobolectricTestRunner::class)
class ScreensTest {
    @get:Rule val rule = createEmptyComposeRule()
    private val phone = Phone(rule)

    @After fun close() = phone.close()

    @Test fun `light`() = screens("light")

    @Test @Config(qualifiers = "+night") fun `dark`() = screens("dark")

    @Test @Config(qualifiers = "+de-land") fun `German in landscape`() = screens("landscape-de")

    @Test @Config(qualifiers = "w900dp-h1280dp-xhdpi") fun `a tablet`() = screens("tablet")

    @Test @Config(qualifiers = "+ar-ldrtl") fun `right to left`() = screens("right-to-left")

    @Test fun `large font`() {
        RuntimeEnvironment.setFontScale(1.6f)
        screens("large-font")
    }

    private fun screens(name: String) {
        phone.launch()
        shot("$name-ask-empty")
        phone.close()
        phone.launchReady().choose(File(GOLDEN, "image.png"))
        phone.send(UiEvent.ChooseMode(Mode.BOTH))
        shot("$name-ask-photo")
        phone.ask("What is in the picture?")
        phone.finishedAnswers(2)
        shot("$name-ask-answered")
        phone.send(UiEvent.Open(Screen.BENCHMARK))
        shot("$name-benchmark")
        phone.send(UiEvent.Open(Screen.BUNDLES))
        shot("$name-bundles")
    }

    /** Writes a screenshot, and checks that every control has a label and is 48 dp high and wide. */
    private fun shot(name: String) {
        phone.screenshot(name)
        val density = rule.onRoot().fetchSemanticsNode().layoutInfo.density.density
        val nodes = rule.onAllNodes(hasClickAction() or hasSetTextAction()).fetchSemanticsNodes()
        assertTrue(nodes.isNotEmpty())
        val faults = nodes.mapNotNull { node ->
            val texts = listOf(SemanticsProperties.ContentDescription, SemanticsProperties.Text).mapNotNull { node.config.getOrNull(it) }
            val label = texts.joinToString()
            val box = node.touchBoundsInRoot
            val small = box.width / density < 47.5 || box.height / density < 47.5
            if (label.isEmpty() || small) "$name: '$label' is ${box.width / density} x ${box.height / density} dp" else null
        }
        assertEquals(emptyList<String>(), faults)
    }
}
