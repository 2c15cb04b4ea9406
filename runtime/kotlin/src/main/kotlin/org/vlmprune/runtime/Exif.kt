package org.vlmprune.runtime

import java.nio.Buffer
import java.nio.BufferUnderflowException
import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val ORIENTATION_TAG = 274
private const val SHORT_TYPE = 3
private const val LONG_TYPE = 4
private val EXIF_MARK = "Exif\u0000\u0000".toByteArray(Charsets.ISO_8859_1)

/**
 * Returns how a picture file says that its pixels are to be turned, the value of EXIF tag 274: 1 to 8.
 *
 * JPEG, PNG, WebP and TIFF files are read. 1 means as stored, also where there is no EXIF block or a damaged one.
 */
fun exifOrientation(bytes: ByteArray): Int = try {
    tiffBlock(bytes)?.let(::orientationOf)?.takeIf { it in 1..8 } ?: 1
} catch (error: BufferUnderflowException) {
    1
} catch (error: IndexOutOfBoundsException) {
    1
} catch (error: IllegalArgumentException) {
    1
} catch (error: ArithmeticException) {
    1
}

/** Returns the TIFF structure that holds the tags, null where the file has none. */
private fun tiffBlock(bytes: ByteArray): ByteBuffer? {
    val file = ByteBuffer.wrap(bytes)
    return when {
        startsWith(file, 0, "\u00FF\u00D8") -> jpegBlock(file)
        startsWith(file, 0, "\u0089PNG\r\n\u001A\n") -> chunk(file, 8, "eXIf", ByteOrder.BIG_ENDIAN)
        startsWith(file, 0, "RIFF") && startsWith(file, 8, "WEBP") -> chunk(file, 12, "EXIF", ByteOrder.LITTLE_ENDIAN)
        startsWith(file, 0, "II*\u0000") || startsWith(file, 0, "MM\u0000*") -> file
        else -> null
    }
}

/** Returns the block of the first APP1 segment that begins with Exif; segments end where the picture's data begin. */
private fun jpegBlock(file: ByteBuffer): ByteBuffer? {
    var at = 2
    while (true) {
        while (file.unsigned(at) == 0xFF && file.unsigned(at + 1) == 0xFF) at++ // any number of fill bytes
        val marker = file.unsigned(at + 1)
        if (file.unsigned(at) != 0xFF || marker == 0xDA || marker == 0xD9) return null
        val length = file.getShort(at + 2).toInt() and 0xFFFF
        if (marker == 0xE1 && matches(file, at + 4, EXIF_MARK)) {
            return part(file, at + 4 + EXIF_MARK.size, length - 2 - EXIF_MARK.size)
        }
        at += 2 + length
    }
}

/** Returns the data of a chunk of a PNG file (length, name, data, checksum) or a RIFF file (name, length, data). */
private fun chunk(file: ByteBuffer, start: Int, name: String, order: ByteOrder): ByteBuffer? {
    val riff = order == ByteOrder.LITTLE_ENDIAN
    file.order(order)
    var at = start
    while (at + 8 <= file.limit()) {
        val length = file.getInt(if (riff) at + 4 else at)
        require(length >= 0) { "a chunk has a negative length" }
        if (startsWith(file, if (riff) at else at + 4, name)) return withoutMark(part(file, at + 8, length))
        at = Math.addExact(at, Math.addExact(length, if (riff) 8 + length % 2 else 12))
    }
    return null
}

/** Some writers put JPEG's mark before the block of another format. */
private fun withoutMark(block: ByteBuffer): ByteBuffer =
    if (matches(block, 0, EXIF_MARK)) part(block, EXIF_MARK.size, block.limit() - EXIF_MARK.size) else block

/** Returns the value of tag 274 in the first directory of a TIFF structure, null if it is not there. */
private fun orientationOf(block: ByteBuffer): Int? {
    block.order(if (block.get(0) == 'I'.code.toByte()) ByteOrder.LITTLE_ENDIAN else ByteOrder.BIG_ENDIAN)
    val directory = block.getInt(4)
    val entries = block.getShort(directory).toInt() and 0xFFFF
    for (nth in 0 until entries) {
        val at = directory + 2 + 12 * nth
        if ((block.getShort(at).toInt() and 0xFFFF) != ORIENTATION_TAG) continue
        return when (block.getShort(at + 2).toInt()) {
            SHORT_TYPE -> block.getShort(at + 8).toInt() and 0xFFFF
            LONG_TYPE -> block.getInt(at + 8)
            else -> null
        }
    }
    return null
}

private fun ByteBuffer.unsigned(at: Int): Int = get(at).toInt() and 255

private fun startsWith(file: ByteBuffer, at: Int, text: String) = matches(file, at, text.toByteArray(Charsets.ISO_8859_1))

private fun matches(file: ByteBuffer, at: Int, bytes: ByteArray): Boolean =
    at + bytes.size <= file.limit() && bytes.indices.all { file.get(at + it) == bytes[it] }

private fun part(file: ByteBuffer, at: Int, length: Int): ByteBuffer {
    val part = file.duplicate()
    (part as Buffer).position(at).limit(Math.addExact(at, length)) // ByteBuffer's own are newer than the first Android that we serve
    return part.slice()
}
