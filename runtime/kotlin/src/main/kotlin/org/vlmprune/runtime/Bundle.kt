package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.FileEntry
import org.vlmprune.runtime.manifest.MANIFEST
import org.vlmprune.runtime.manifest.Manifest
import org.vlmprune.runtime.manifest.parseManifest
import java.io.IOException
import java.nio.charset.CharacterCodingException
import java.nio.file.Files
import java.nio.file.Path
import java.security.MessageDigest

private const val MAX_MANIFEST_BYTES = 8L shl 20

/** A bundle whose manifest and files agree; [verified] says that the hashes of its files were compared. */
class Bundle internal constructor(val folder: Path, val manifest: Manifest, val verified: Boolean) {
    /** Returns where a listed file or package lies. */
    fun path(name: String): Path {
        val known = name in manifest.files || manifest.files.keys.any { it.startsWith("$name/") }
        if (!known) throw BundleError(MANIFEST, "${shortRepr(name)} is not listed", "files")
        return folder.resolve(name)
    }
}

/** Returns the manifest of the bundle in a folder, whose other files are not looked at. Raises [BundleError]. */
fun readManifest(folder: Path): Manifest {
    if (!Files.isDirectory(folder)) throw BundleError(folder.toString(), "no such folder")
    return parseManifest(readManifestText(folder.resolve(MANIFEST)))
}

/**
 * Returns the bundle in a folder, after comparing every file with the manifest's size and hash.
 *
 * [verify] false skips the hashes. [progress] is told what fraction of the bytes has been read; what it throws ends the
 * check. Raises [BundleError] with file and field.
 */
fun openBundle(folder: Path, verify: Boolean = true, progress: (Double) -> Unit = {}): Bundle {
    val manifest = readManifest(folder)
    val total = maxOf(1L, manifest.files.values.sumOf { it.sizeBytes })
    var done = 0L
    for ((name, entry) in manifest.files) {
        val path = checkSize(folder, name, entry)
        if (verify) checkHash(path, name, entry) { done += it; progress(done.toDouble() / total) }
    }
    checkPackages(folder, manifest)
    return Bundle(folder, manifest, verified = verify)
}

private fun readManifestText(path: Path): String {
    if (!Files.isRegularFile(path)) throw BundleError(MANIFEST, "is missing")
    if (Files.size(path) > MAX_MANIFEST_BYTES) throw BundleError(MANIFEST, "is larger than $MAX_MANIFEST_BYTES bytes")
    return try {
        Files.readAllBytes(path).decodeToString(throwOnInvalidSequence = true)
    } catch (error: CharacterCodingException) {
        throw BundleError(MANIFEST, "is not JSON: it is not UTF-8 text")
    } catch (error: IOException) {
        throw BundleError(MANIFEST, "cannot be read: ${firstLine(error)}")
    }
}

private fun checkSize(folder: Path, name: String, entry: FileEntry): Path = readable(name) {
    val path = realPath(folder, name)
    val size = Files.size(path)
    if (size != entry.sizeBytes) {
        val what = if (size < entry.sizeBytes) "truncated" else "too long"
        throw BundleError(name, "is $what: got $size bytes, expected ${entry.sizeBytes}", "size_bytes")
    }
    path
}

private fun checkHash(path: Path, name: String, entry: FileEntry, progress: (Long) -> Unit) {
    if (readable(name) { sha256Of(path, progress) } != entry.sha256) {
        throw BundleError(name, "is not the file that was exported: other sha256", "sha256")
    }
}

private fun <T> readable(name: String, read: () -> T): T = try {
    read()
} catch (error: IOException) {
    throw BundleError(name, "cannot be read: ${firstLine(error)}")
}

/** Returns where a file lies, which must be inside the folder, whatever links say. */
private fun realPath(folder: Path, name: String): Path {
    val path = folder.resolve(name)
    if (!Files.exists(path)) throw BundleError(name, "is missing")
    val real = path.toRealPath()
    if (!real.startsWith(folder.toRealPath())) throw BundleError(name, "leads outside the bundle folder")
    if (!Files.isRegularFile(real)) throw BundleError(name, "is not a file")
    return real
}

/** Returns the SHA-256 of a file as 64 hexadecimal digits; [progress] is told the number of bytes of each part. */
internal fun sha256Of(path: Path, progress: (Long) -> Unit = {}): String {
    val digest = MessageDigest.getInstance("SHA-256")
    val buffer = ByteArray(1 shl 20)
    Files.newInputStream(path).use { stream ->
        while (true) {
            val count = stream.read(buffer)
            if (count < 0) break
            digest.update(buffer, 0, count)
            progress(count.toLong())
        }
    }
    return hexDigits(digest.digest())
}

/** A package is read as a whole by its runtime, so nothing may lie in it that is not listed. */
private fun checkPackages(folder: Path, manifest: Manifest) {
    val packages = manifest.files.keys.filter { "/" in it }.map { it.substringBefore("/") }.toSet()
    for (name in packages) {
        Files.walk(folder.resolve(name)).use { paths ->
            paths.filter { !Files.isDirectory(it) }.forEach { path ->
                val inside = folder.relativize(path).joinToString("/")
                if (inside !in manifest.files) throw BundleError(inside, "is in the package, but not listed", "files")
            }
        }
    }
}
