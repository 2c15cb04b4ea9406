package org.vlmprune.runtime

import org.vlmprune.runtime.manifest.Rgb

/** An upright picture in 8-bit RGB; [rgb] has three bytes per pixel, row by row. */
class Picture(val width: Int, val height: Int, val rgb: ByteArray) {
    init {
        require(rgb.size == 3 * width * height) { "a picture of $width x $height needs ${3 * width * height} bytes" }
    }

    val size: Size get() = Size(height, width)
}

/** Returns the rectangle of a picture from (left, top); [colour] where it reaches beyond the picture. */
fun Picture.cropped(left: Int, top: Int, outWidth: Int, outHeight: Int, colour: Rgb): Picture {
    if (left == 0 && top == 0 && outWidth == width && outHeight == height) return this
    val out = ByteArray(3 * outWidth * outHeight)
    val filling = byteArrayOf(colour.red.toByte(), colour.green.toByte(), colour.blue.toByte())
    if (filling.any { it.toInt() != 0 }) for (at in out.indices) out[at] = filling[at % 3]
    val first = maxOf(0, -left)
    val count = minOf(outWidth, width - left) - first
    for (y in maxOf(0, -top) until minOf(outHeight, height - top)) {
        val start = 3 * ((y + top) * width + left + first)
        if (count > 0) rgb.copyInto(out, 3 * (y * outWidth + first), start, start + 3 * count)
    }
    return Picture(outWidth, outHeight, out)
}
