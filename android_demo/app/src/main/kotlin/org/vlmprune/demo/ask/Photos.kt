package org.vlmprune.demo.ask

import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.net.Uri
import androidx.compose.ui.graphics.asImageBitmap
import org.vlmprune.demo.DemoException
import org.vlmprune.demo.Problem
import org.vlmprune.demo.ProblemKind
import org.vlmprune.runtime.BadRequest
import org.vlmprune.runtime.PictureDecoder
import org.vlmprune.runtime.PictureFile
import org.vlmprune.runtime.PixelRows
import org.vlmprune.runtime.exifOrientation
import java.io.File
import java.io.IOException
import java.util.UUID

private const val PREVIEW_PX = 1024
private const val MOST_BYTES = 64 shl 20

/** The photos of the conversation, kept as files of the app so that they outlive the process and the picker's grant. */
class Photos(private val context: Context) {
    private val folder = File(context.filesDir, "photos").apply { mkdirs() }

    /** Copies a photo and returns it. Raises [DemoException] for what cannot be read as a picture. */
    fun add(uri: Uri): Photo {
        val bytes = read(uri)
        val id = UUID.randomUUID().toString()
        val photo = photo(id, uri.lastPathSegment ?: id, bytes)
        File(folder, id).writeBytes(bytes)
        return photo
    }

    /** Returns a photo that an earlier process added, or null if it is gone. */
    fun restored(id: String): Photo? = try {
        photo(id, id, File(folder, id).readBytes())
    } catch (error: IOException) {
        null
    } catch (error: DemoException) {
        null
    }

    fun remove(photo: Photo) {
        File(folder, photo.id).delete()
    }

    /** Returns the photo as the runtime takes it: the file's own bytes, decoded when the run needs them. */
    fun source(photo: Photo): PictureFile = PictureFile(photo.name, File(folder, photo.id).readBytes(), BitmapDecoder)

    private fun photo(id: String, name: String, bytes: ByteArray) = Photo(id, name, preview(bytes).asImageBitmap())

    private fun read(uri: Uri): ByteArray = try {
        val stream = context.contentResolver.openInputStream(uri) ?: throw IOException("$uri has no content")
        stream.use { it.readBytes() }.also { if (it.size > MOST_BYTES) throw IOException("${it.size} bytes are too many") }
    } catch (error: Exception) {
        throw unreadable(error.message.orEmpty())
    }
}

private fun unreadable(detail: String) = DemoException(Problem(ProblemKind.UNREADABLE_PHOTO, detail))

/** Returns the picture upright and small enough for the screen. */
private fun preview(bytes: ByteArray): Bitmap {
    val size = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    BitmapFactory.decodeByteArray(bytes, 0, bytes.size, size)
    val options = BitmapFactory.Options().apply { inSampleSize = maxOf(1, maxOf(size.outWidth, size.outHeight) / PREVIEW_PX) }
    val bitmap = BitmapFactory.decodeByteArray(bytes, 0, bytes.size, options) ?: throw unreadable("")
    return bitmap.turned(exifOrientation(bytes))
}

/** Returns the bitmap as EXIF says that it is to be shown. */
private fun Bitmap.turned(orientation: Int): Bitmap {
    if (orientation == 1) return this
    val matrix = Matrix().apply {
        if (orientation in setOf(2, 5, 7)) postScale(-1f, 1f)
        if (orientation == 4) postScale(1f, -1f)
        postRotate(when (orientation) { 3 -> 180f; 5, 8 -> 270f; 6, 7 -> 90f; else -> 0f })
    }
    return Bitmap.createBitmap(this, 0, 0, width, height, matrix, true)
}

/** Decodes with the platform, without multiplying colours by their opacity. */
object BitmapDecoder : PictureDecoder {
    override fun decode(bytes: ByteArray): PixelRows {
        val options = BitmapFactory.Options().apply { inPremultiplied = false }
        val bitmap = BitmapFactory.decodeByteArray(bytes, 0, bytes.size, options) ?: throw BadRequest("the photo cannot be decoded")
        return BitmapRows(bitmap)
    }
}

private class BitmapRows(private val bitmap: Bitmap) : PixelRows {
    override val width: Int = bitmap.width
    override val height: Int = bitmap.height

    override fun read(y: Int, argb: IntArray) = bitmap.getPixels(argb, 0, width, 0, y, width, 1)
}
