package org.vlmprune.demo.bundles

import android.content.Context
import android.net.Uri
import android.provider.DocumentsContract
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.update
import org.vlmprune.demo.DemoException
import org.vlmprune.demo.Problem
import org.vlmprune.demo.ProblemKind
import org.vlmprune.runtime.manifest.MANIFEST
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.util.zip.ZipEntry
import java.util.zip.ZipInputStream

private const val SPARE_BYTES = 64L shl 20

/** Copies a bundle into the app's files, from a folder or a zip file that another app offers. */
class BundleCopy(private val context: Context, private val store: BundleStore, private val state: MutableStateFlow<BundlesState>) {
    /** Copies the folder that the system's picker gave; files that are there whole from an earlier try are kept. */
    suspend fun fromFolder(tree: Uri): File {
        val root = DocumentsContract.getTreeDocumentId(tree)
        val files = listed(tree, root, "")
        if (files.none { it.path == MANIFEST }) throw DemoException(Problem(ProblemKind.NO_BUNDLE_IN_FOLDER))
        val name = safeName(root.substringAfterLast('/').substringAfterLast(':'))
        val target = Target(name, files.sumOf { it.bytes })
        for (file in files) {
            target.copy(file.path, file.bytes) { open(DocumentsContract.buildDocumentUriUsingTree(tree, file.id)) }
        }
        return target.finish()
    }

    /** Copies what a zip file holds; its only folder, if it has one, is left out. */
    suspend fun fromZip(uri: Uri): File {
        val entries = entries(uri)
        val manifest = entries.keys.filter { it == MANIFEST || it.endsWith("/$MANIFEST") }.minByOrNull { it.length }
            ?: throw DemoException(Problem(ProblemKind.NO_BUNDLE_IN_FOLDER))
        val prefix = manifest.removeSuffix(MANIFEST)
        val name = safeName(prefix.trimEnd('/').ifEmpty { uri.lastPathSegment.orEmpty().substringAfterLast('/').removeSuffix(".zip") })
        val target = Target(name, entries.values.sum())
        ZipInputStream(open(uri).buffered()).use { zip ->
            for (entry in generateSequence { zip.nextEntry }) {
                if (!entry.isDirectory && entry.name.startsWith(prefix)) target.copy(entry.name.removePrefix(prefix), entries.getValue(entry.name)) { zip }
            }
        }
        return target.finish()
    }

    /** Returns the sizes of a zip file's entries, which a stream tells only after reading each. */
    private suspend fun entries(uri: Uri): Map<String, Long> = ZipInputStream(open(uri).buffered()).use { zip ->
        generateSequence<ZipEntry> { zip.nextEntry }.filterNot { it.isDirectory }.toList { it.name to length(zip) }.toMap()
    }

    private suspend fun <T> Sequence<ZipEntry>.toList(read: suspend (ZipEntry) -> T): List<T> {
        val out = mutableListOf<T>()
        for (entry in this) out += read(entry)
        return out
    }

    private suspend fun length(stream: InputStream): Long {
        val buffer = ByteArray(1 shl 20)
        var length = 0L
        while (true) {
            currentCoroutineContext().ensureActive()
            val count = stream.read(buffer)
            if (count < 0) return length
            length += count
        }
    }

    private fun open(uri: Uri): InputStream =
        context.contentResolver.openInputStream(uri) ?: throw IOException("$uri has no content")

    private class Listed(val path: String, val id: String, val bytes: Long)

    private fun listed(tree: Uri, id: String, prefix: String): List<Listed> {
        val columns = arrayOf(
            DocumentsContract.Document.COLUMN_DOCUMENT_ID, DocumentsContract.Document.COLUMN_DISPLAY_NAME,
            DocumentsContract.Document.COLUMN_MIME_TYPE, DocumentsContract.Document.COLUMN_SIZE,
        )
        val children = DocumentsContract.buildChildDocumentsUriUsingTree(tree, id)
        val out = mutableListOf<Listed>()
        val found = context.contentResolver.query(children, columns, null, null) ?: throw IOException("$tree has no content")
        found.use { rows ->
            while (rows.moveToNext()) {
                val path = prefix + rows.getString(1)
                if (rows.getString(2) == DocumentsContract.Document.MIME_TYPE_DIR) {
                    out += listed(tree, rows.getString(0), "$path/")
                } else {
                    out += Listed(path, rows.getString(0), rows.getLong(3))
                }
            }
        }
        return out
    }

    /** The folder that a copy goes to; it gets its name when it is whole. */
    private inner class Target(private val name: String, private val totalBytes: Long) {
        private val partial = File(store.copied, name + PARTIAL).apply { mkdirs() }
        private var doneBytes = 0L

        init {
            val there = partial.walk().filter { it.isFile }.sumOf { it.length() }
            val needed = totalBytes - there + SPARE_BYTES
            val free = store.freeSpace()
            if (needed > free) throw DemoException(Problem(ProblemKind.NO_SPACE, "${needed shr 20} MB / ${free shr 20} MB"))
            report(0)
        }

        suspend fun copy(path: String, bytes: Long, open: () -> InputStream) {
            val out = File(partial, path)
            if (!out.canonicalPath.startsWith(partial.canonicalPath + File.separator)) throw IOException("$path leads outside the bundle")
            if (out.exists() && out.length() == bytes) return report(bytes)
            out.parentFile?.mkdirs()
            val stream = open()
            try {
                write(stream, out)
            } finally {
                if (stream !is ZipInputStream) stream.close()
            }
        }

        private suspend fun write(stream: InputStream, out: File) {
            val buffer = ByteArray(1 shl 20)
            out.outputStream().use { sink ->
                while (true) {
                    currentCoroutineContext().ensureActive()
                    val count = stream.read(buffer)
                    if (count < 0) break
                    sink.write(buffer, 0, count)
                    report(count.toLong())
                }
            }
        }

        fun finish(): File {
            val whole = File(store.copied, name)
            whole.deleteRecursively()
            if (!partial.renameTo(whole)) throw IOException("$partial cannot be renamed")
            return whole
        }

        private fun report(bytes: Long) {
            doneBytes += bytes
            state.update { it.copy(copying = Copying(name, doneBytes, totalBytes)) }
        }
    }
}

/** Returns a name that is a folder's name on every file system. */
private fun safeName(text: String): String = text.replace(Regex("[^A-Za-z0-9._-]"), "_").trim('.', '_').ifEmpty { "bundle" }
