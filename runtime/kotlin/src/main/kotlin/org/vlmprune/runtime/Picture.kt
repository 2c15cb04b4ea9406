package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Rgb

/** An upright picture in 8-bit RGB; [rgb] has three bytes per pixel, row by row. */
class Picture(val width: Int, val height: Int, val rgb: ByteArray) {
    init {
        require(rgb.size == 3 * width * height) { "a picture of $width x $height needs ${3 * width * height} bytes" }
    }
}

/**
 * A picture as a platform decodes it: 32-bit pixels with opacity in the highest byte, then red, green and blue, not
 * multiplied by the opacity; [orientation] is the value of EXIF tag 274, 1 where there is none.
 */
class DecodedPicture(val width: Int, val height: Int, val argb: IntArray, val orientation: Int = 1)

/** Decodes the bytes of a picture file. Raises [BadRequest] if they are no picture. */
fun interface PictureDecoder {
    fun decode(bytes: ByteArray): DecodedPicture
}

/** Returns the picture upright, with transparency laid over white. */
fun DecodedPicture.toPicture(): Picture {
    val turned = orientation in 5..8
    val (outWidth, outHeight) = if (turned) height to width else width to height
    val rgb = ByteArray(3 * width * height)
    for (y in 0 until outHeight) {
        for (x in 0 until outWidth) putOverWhite(argb[stored(x, y)], rgb, 3 * (y * outWidth + x))
    }
    return Picture(outWidth, outHeight, rgb)
}

/** Returns the index of the stored pixel that is shown at (x, y). */
private fun DecodedPicture.stored(x: Int, y: Int): Int = when (orientation) {
    2 -> y * width + (width - 1 - x)
    3 -> (height - 1 - y) * width + (width - 1 - x)
    4 -> (height - 1 - y) * width + x
    5 -> x * width + y
    6 -> (height - 1 - x) * width + y
    7 -> (height - 1 - x) * width + (width - 1 - y)
    8 -> x * width + (width - 1 - y)
    else -> y * width + x
}

private fun putOverWhite(pixel: Int, rgb: ByteArray, at: Int) {
    val opacity = pixel ushr 24
    for (channel in 0..2) {
        val value = (pixel ushr (16 - 8 * channel)) and 255
        rgb[at + channel] = overWhite(value, opacity).toByte()
    }
}

/** Returns (value * opacity + 255 * (255 - opacity)) / 255, rounded. */
private fun overWhite(value: Int, opacity: Int): Int =
    (2 * (value * opacity + 255 * (255 - opacity)) + 255) / (2 * 255)

/** Returns the rectangle of a picture from (left, top); [colour] where it reaches beyond the picture. */
fun Picture.cropped(left: Int, top: Int, outWidth: Int, outHeight: Int, colour: Rgb): Picture {
    if (left == 0 && top == 0 && outWidth == width && outHeight == height) return this
    val out = ByteArray(3 * outWidth * outHeight)
    val filling = byteArrayOf(colour.red.toByte(), colour.green.toByte(), colour.blue.toByte())
    if (filling.any { it.toInt() != 0 }) for (at in out.indices) out[at] = filling[at % 3]
    val first = maxOf(0, -left)
    val count = minOf(outWidth, width - left) - first
    for (y in maxOf(0, -top) until minOf(outHeight, height - top)) {
        if (count > 0) rgb.copyInto(out, 3 * (y * outWidth + first), 3 * ((y + top) * width + left + first), 3 * ((y + top) * width + left + first + count))
    }
    return Picture(outWidth, outHeight, out)
}
