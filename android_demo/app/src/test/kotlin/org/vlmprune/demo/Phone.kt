package org.vlmprune.demo

import android.app.Activity
import android.app.ActivityManager
import android.app.Application
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Canvas
import android.net.Uri
import android.os.Bundle
import android.os.Looper
import android.os.Parcel
import androidx.activity.viewModels
import androidx.compose.ui.test.hasClickAction
import androidx.compose.ui.test.hasContentDescription
import androidx.compose.ui.test.hasText
import androidx.compose.ui.test.junit4.ComposeTestRule
import androidx.compose.ui.test.performClick
import androidx.compose.ui.test.performScrollTo
import androidx.test.core.app.ActivityScenario
import androidx.test.core.app.ApplicationProvider
import androidx.test.platform.app.InstrumentationRegistry
import org.robolectric.Robolectric
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.shadows.ShadowStatFs
import java.io.ByteArrayInputStream
import java.io.File

val GOLDEN = File(System.getProperty("golden")!!)
private val SCREENSHOTS = File(System.getProperty("screenshots")!!)

/** The app on an imitated phone with real rendering and the real engine: what a test does with it. */
class Phone(private val rule: ComposeTestRule) : AutoCloseable {
    val application: Application = ApplicationProvider.getApplicationContext()
    lateinit var scenario: ActivityScenario<MainActivity>
    private var restarted: ActivityController<MainActivity>? = null
    val state: UiState get() = activity { it.modelState() }

    init {
        memory(bytes = 4L shl 30)
        space(bytes = 16L shl 30)
    }

    fun memory(bytes: Long) = shadowOf(application.getSystemService(ActivityManager::class.java))
        .setMemoryInfo(ActivityManager.MemoryInfo().apply { availMem = bytes; totalMem = 8L shl 30 })

    fun space(bytes: Long) {
        val blocks = (bytes / ShadowStatFs.BLOCK_SIZE).toInt()
        ShadowStatFs.registerStats(File(application.filesDir, "bundles"), blocks, blocks, blocks)
    }

    /** Puts a bundle where the app keeps its copies. */
    fun install(bundle: File, name: String = bundle.name): File =
        File(application.filesDir, "bundles/$name").also { bundle.copyRecursively(it, overwrite = true) }

    fun launch(intent: Intent = Intent(application, MainActivity::class.java)): Phone {
        scenario = ActivityScenario.launch(intent)
        return this
    }

    /** Launches with the golden bundle loaded and ready. */
    fun launchReady(bundle: String = "bundle"): Phone {
        install(File(GOLDEN, bundle))
        launch()
        await("the bundle is loaded") { it.model is ModelState.Ready }
        return this
    }

    /**
     * Ends the app's process as Android does with an app in the background, and starts it anew: all that is left is what
     * the activity has saved, as the system keeps it, and the app's files.
     */
    fun endProcess() {
        val bytes = activity { activity ->
            val saved = Bundle().also { InstrumentationRegistry.getInstrumentation().callActivityOnSaveInstanceState(activity, it) }
            parcelled { it.writeBundle(saved); it.marshall() }
        }
        scenario.close()
        val restored = parcelled { it.unmarshall(bytes, 0, bytes.size); it.setDataPosition(0); it.readBundle(javaClass.classLoader) }
        restarted = Robolectric.buildActivity(MainActivity::class.java).setup(restored)
        rule.waitForIdle()
    }

    private fun <T> parcelled(use: (Parcel) -> T): T = Parcel.obtain().let { parcel -> use(parcel).also { parcel.recycle() } }

    fun <T> activity(read: (MainActivity) -> T): T {
        restarted?.let { return read(it.get()) }
        var value: Result<T>? = null
        scenario.onActivity { value = runCatching { read(it) } }
        return value!!.getOrThrow()
    }

    fun send(event: UiEvent) {
        activity { it.viewModels<DemoModel>().value.on(event) }
        rule.waitForIdle()
    }

    /** Waits until the state is as it should be; shows the state when it never comes. */
    fun await(what: String, seconds: Long = 30, holds: (UiState) -> Boolean) {
        val end = System.nanoTime() + seconds * 1_000_000_000
        while (!holds(state)) {
            if (System.nanoTime() > end) throw AssertionError("waited in vain until $what: $state")
            Thread.sleep(10)
            shadowOf(Looper.getMainLooper()).idle()
            rule.waitForIdle()
        }
        rule.waitForIdle()
    }

    /** Clicks on a control, which has this text or description. */
    fun click(label: String) {
        rule.onNode(hasClickAction() and (hasText(label) or hasContentDescription(label))).performScrollTo().performClick()
        rule.waitForIdle()
    }

    /** Returns what the app has asked another app for, whose answer is then [result]. */
    fun answered(result: Intent): Intent = activity {
        val started = shadowOf(it).nextStartedActivityForResult
        shadowOf(it).receiveResult(started.intent, Activity.RESULT_OK, result)
        started.intent
    }

    /** Registers a picture with the phone's content and chooses it, as the picker would return it. */
    fun choose(vararg pictures: File) {
        val uris = pictures.map { picture ->
            Uri.parse("content://media/picker/0/${picture.name}").also { uri ->
                shadowOf(application.contentResolver).registerInputStreamSupplier(uri) { ByteArrayInputStream(picture.readBytes()) }
            }
        }
        val before = state.ask.photos.size
        send(UiEvent.AddPhotos(uris.map { it.toString() }))
        await("the photos are there") { it.ask.photos.size == before + pictures.size }
    }

    fun ask(question: String) {
        send(UiEvent.EditQuestion(question))
        rule.onNode(hasClickAction() and hasContentDescription(application.getString(R.string.send))).performClick()
        rule.waitForIdle()
    }

    fun finishedAnswers(count: Int) = await("$count answers are there", 60) { state ->
        !state.ask.running && state.ask.turns.flatMap { it.answers }.size == count
    }

    fun text(id: Int, vararg values: Any): String = application.getString(id, *values)

    /** Draws the window as it is into a file, which a person is to look at, and returns its pixels. */
    fun screenshot(name: String): Bitmap {
        rule.waitForIdle()
        return activity {
            val view = it.window.decorView
            val bitmap = Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888)
            view.draw(Canvas(bitmap))
            File(SCREENSHOTS, "$name.png").outputStream().use { out -> bitmap.compress(Bitmap.CompressFormat.PNG, 100, out) }
            bitmap
        }
    }

    override fun close() {
        restarted?.close()
        if (::scenario.isInitialized) scenario.close()
    }
}

private fun MainActivity.modelState(): UiState = viewModels<DemoModel>().value.state.value
