package org.vlmprune.demo.bundles

import android.app.ActivityManager
import android.content.Context
import android.content.res.AssetManager
import android.os.StatFs
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.update
import org.vlmprune.demo.problemOf
import org.vlmprune.runtime.manifest.MANIFEST
import org.vlmprune.runtime.readManifest
import java.io.File
import java.io.IOException
import java.io.InputStream

const val PARTIAL = ".partial"

/** The files that the app was built with, by their paths; a folder has children. */
interface BuiltInFiles {
    fun children(path: String): List<String>
    fun open(path: String): InputStream
}

/** Reads the APK's assets. */
class AssetFiles(private val assets: AssetManager) : BuiltInFiles {
    override fun children(path: String) = assets.list(path).orEmpty().toList()
    override fun open(path: String) = assets.open(path)
}

/**
 * Finds the bundles on the phone: copied by the app, pushed with adb into its external files, or built into it.
 *
 * A bundle of the APK's assets is laid into the app's files first, since the engines read files.
 */
class BundleStore(
    private val context: Context,
    private val state: MutableStateFlow<BundlesState>,
    private val builtInFiles: BuiltInFiles = AssetFiles(context.assets),
) {
    /** Where copies of the app lie. */
    val copied: File = File(context.filesDir, "bundles").apply { mkdirs() }

    /** Where adb may push to: below Android/data on the phone's storage. */
    private val pushed: File? get() = context.getExternalFilesDir("bundles")
    private val builtIn = File(context.filesDir, "built-in").apply { mkdirs() }

    /** Looks at all places anew. */
    fun refresh() {
        unpackBuiltIn()
        val entries = folders(copied).map { entry(it, Origin.COPIED) } +
            folders(pushed).map { entry(it, Origin.PUSHED) } + folders(builtIn).map { entry(it, Origin.BUILT_IN) }
        state.update { it.copy(entries = entries, availableMemoryBytes = availableMemory(), freeSpaceBytes = freeSpace()) }
    }

    /** Returns the bundle with this folder or this name, or null. */
    fun find(name: String): BundleEntry? = state.value.entries.firstOrNull { it.folder == name || it.name == name || File(it.folder).name == name }

    fun delete(folder: String) {
        val file = File(folder)
        if (file.parentFile == copied) file.deleteRecursively()
        refresh()
    }

    /** Returns how many bytes the app may still take before the phone gets low on memory. */
    fun availableMemory(): Long {
        val info = ActivityManager.MemoryInfo()
        context.getSystemService(ActivityManager::class.java).getMemoryInfo(info)
        return maxOf(0, info.availMem - info.threshold)
    }

    fun freeSpace(): Long = StatFs(copied.path).availableBytes

    private fun folders(place: File?): List<File> =
        place?.listFiles().orEmpty().filter { it.isDirectory && !it.name.endsWith(PARTIAL) }.sortedBy { it.name }

    private fun entry(folder: File, origin: Origin): BundleEntry = try {
        val manifest = readManifest(folder.toPath())
        BundleEntry(
            folder.path, manifest.name, origin, manifest.target, manifest.quantisation.takeIf { it != "none" }.orEmpty(), manifest.prunerMethod,
            manifest.files.values.sumOf { it.sizeBytes }, manifest.memory.peakBytes,
        )
    } catch (error: Exception) {
        BundleEntry(folder.path, folder.name, origin, sizeBytes = folder.walk().filter { it.isFile }.sumOf { it.length() }, problem = problemOf(error))
    }

    private fun unpackBuiltIn() {
        for (name in builtInFiles.children("bundles")) {
            val out = File(builtIn, name)
            if (File(out, MANIFEST).exists()) continue
            try {
                unpack("bundles/$name", out)
            } catch (error: IOException) {
                state.update { it.copy(problem = problemOf(error)) }
            }
        }
    }

    /** Copies a folder of assets; the manifest comes last, so that half a copy is none. */
    private fun unpack(asset: String, out: File) {
        val children = builtInFiles.children(asset)
        if (children.isEmpty()) {
            out.parentFile?.mkdirs()
            builtInFiles.open(asset).use { stream -> out.outputStream().use { stream.copyTo(it) } }
        }
        for (child in children.sortedBy { it == MANIFEST }) unpack("$asset/$child", File(out, child))
    }
}
