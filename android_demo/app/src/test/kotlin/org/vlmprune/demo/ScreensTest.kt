package org.vlmprune.demo

import androidx.compose.ui.semantics.SemanticsProperties
import androidx.compose.ui.semantics.getOrNull
import androidx.compose.ui.test.SemanticsNodeInteraction
import androidx.compose.ui.test.hasClickAction
import androidx.compose.ui.test.hasSetTextAction
import androidx.compose.ui.test.junit4.v2.createEmptyComposeRule
import androidx.compose.ui.test.performScrollTo
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
        val controls = rule.onAllNodes(hasClickAction() or hasSetTextAction())
        val count = controls.fetchSemanticsNodes().size
        assertTrue(count > 0)
        assertEquals(emptyList<String>(), (0 until count).mapNotNull { fault(controls[it]) }.map { "$name: $it" })
    }

    /** Returns what is wrong with a control once it is scrolled into sight, where its touch bounds are whole. */
    private fun fault(control: SemanticsNodeInteraction): String? {
        runCatching { control.performScrollTo() } // what does not scroll is in sight
        rule.waitForIdle()
        val node = control.fetchSemanticsNode()
        val label = listOf(SemanticsProperties.ContentDescription, SemanticsProperties.Text).mapNotNull { node.config.getOrNull(it) }.joinToString()
        val density = node.layoutInfo.density.density
        val (width, height) = node.touchBoundsInRoot.let { it.width / density to it.height / density }
        return if (label.isEmpty() || width < 47.5 || height < 47.5) "'$label' is $width x $height dp" else null
    }
}
