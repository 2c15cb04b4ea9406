package org.vlmprune.demo

import android.app.Application
import kotlinx.coroutines.flow.MutableStateFlow
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.vlmprune.demo.bundles.BuiltInFiles
import org.vlmprune.demo.bundles.BundleStore
import org.vlmprune.demo.bundles.BundlesState
import org.vlmprune.demo.bundles.Origin
import org.vlmprune.runtime.manifest.MANIFEST
import java.io.File
import java.io.IOException

/** Bundles that the app was built with, from a folder in place of the APK's assets. */
@RunWith(RobolectricTestRunner::class)
class BuiltInBundlesTest {
    private val application: Application = RuntimeEnvironment.getApplication()
    private val state = MutableStateFlow(BundlesState())
    private val assets = File(application.cacheDir, "assets").also { File(GOLDEN, "bundle").copyRecursively(File(it, "bundles/small")) }
    private val opened = mutableListOf<String>()
    private var unreadable: String? = null

    private val files = object : BuiltInFiles {
        override fun children(path: String) = File(assets, path).list().orEmpty().sorted()

        override fun open(path: String) = run {
            if (path == unreadable) throw IOException("$path cannot be read")
            opened += path
            File(assets, path).inputStream()
        }
    }
    private val store = BundleStore(application, state, files)

    @Test fun `they are laid into the app's files once, the manifest last`() {
        store.refresh()
        val entry = state.value.entries.single()
        assertEquals(Origin.BUILT_IN, entry.origin)
        assertNull(entry.problem)
        assertEquals(tree(File(GOLDEN, "bundle")), tree(File(entry.folder)))
        assertEquals("bundles/small/$MANIFEST", opened.last())
        opened.clear()
        store.refresh()
        assertTrue(opened.isEmpty())
    }

    @Test fun `half a copy is no bundle, and is made anew the next time`() {
        unreadable = "bundles/small/tail.onnx"
        store.refresh()
        assertNotNull(state.value.problem)
        assertTrue(state.value.entries.none { it.problem == null })
        unreadable = null
        store.refresh()
        assertNull(state.value.entries.single().problem)
    }

    @Test fun `deleting leaves them, for they are part of the app`() {
        store.refresh()
        store.delete(state.value.entries.single().folder)
        assertEquals(Origin.BUILT_IN, state.value.entries.single().origin)
    }

    private fun tree(folder: File) =
        folder.walk().filter { it.isFile }.associate { it.relativeTo(folder).path to it.readBytes().toList() }
}
