package org.vlmprune.runtime

import java.security.MessageDigest

/** A picture of a request; [load] decodes it and is called once per question. */
interface ImageSource {
    val name: String

    /** The hash of the picture's file as 64 hexadecimal digits, null for a picture that is no file. */
    val sha256: String? get() = null

    /** Returns the picture upright in RGB. Raises [BadRequest] for what is no picture. */
    fun load(): Picture
}

/**
 * Pixels as a platform decodes them from a file: as they are stored, without the turn that EXIF asks for.
 *
 * A pixel has 32 bits: opacity in the highest byte, then red, green and blue, not multiplied by the opacity.
 */
interface PixelRows {
    val width: Int
    val height: Int

    /** Writes the pixels of row [y] into [argb], whose length is [width]. */
    fun read(y: Int, argb: IntArray)
}

/** Decodes the bytes of a picture file. Raises [BadRequest] for bytes that are no picture. */
fun interface PictureDecoder {
    fun decode(bytes: ByteArray): PixelRows
}

/** A picture file; the turn that its EXIF block asks for is read from the bytes. */
class PictureFile(override val name: String, val bytes: ByteArray, private val decoder: PictureDecoder) : ImageSource {
    override val sha256: String by lazy { hexDigits(MessageDigest.getInstance("SHA-256").digest(bytes)) }

    override fun load(): Picture = try {
        decoder.decode(bytes).toPicture(exifOrientation(bytes))
    } catch (error: BadRequest) {
        throw BadRequest("image ${shortRepr(name)}: ${error.message}")
    }
}

/** A picture that is decoded already. */
class LoadedPicture(override val name: String, private val picture: Picture) : ImageSource {
    override fun load(): Picture = picture
}

/** Returns the picture upright, with transparency laid over white; [orientation] is the value of EXIF tag 274. */
fun PixelRows.toPicture(orientation: Int): Picture {
    val turned = orientation in 5..8
    val outWidth = if (turned) height else width
    val rgb = ByteArray(3 * width * height)
    val row = IntArray(width)
    for (y in 0 until height) {
        read(y, row)
        val (first, step) = shownAt(orientation, y, outWidth)
        for (x in 0 until width) putOverWhite(row[x], rgb, 3 * (first + x * step))
    }
    return Picture(outWidth, if (turned) width else height, rgb)
}

/** Returns the index of the upright pixel that shows the first pixel of stored row [y], and the step to the next. */
private fun PixelRows.shownAt(orientation: Int, y: Int, outWidth: Int): Pair<Int, Int> = when (orientation) {
    2 -> y * outWidth + width - 1 to -1
    3 -> (height - 1 - y) * outWidth + width - 1 to -1
    4 -> (height - 1 - y) * outWidth to 1
    5 -> y to outWidth
    6 -> height - 1 - y to outWidth
    7 -> (width - 1) * outWidth + height - 1 - y to -outWidth
    8 -> (width - 1) * outWidth + y to -outWidth
    else -> y * outWidth to 1
}

private fun putOverWhite(pixel: Int, rgb: ByteArray, at: Int) {
    val opacity = pixel ushr 24
    for (channel in 0..2) {
        val value = (pixel ushr (16 - 8 * channel)) and 255
        rgb[at + channel] = (if (opacity == 255) value else overWhite(value, opacity)).toByte()
    }
}

/** Returns (value * opacity + 255 * (255 - opacity)) / 255, rounded. */
private fun overWhite(value: Int, opacity: Int): Int =
    (2 * (value * opacity + 255 * (255 - opacity)) + 255) / (2 * 255)

internal fun hexDigits(bytes: ByteArray): String = bytes.joinToString("") { "%02x".format(it) }
