package org.vlmprune.runtime

import java.awt.image.BufferedImage
import java.io.ByteArrayInputStream
import java.io.StringReader
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import java.util.zip.ZipFile
import javax.imageio.ImageIO

/** The files that runners in all languages are tested with. */
val GOLDEN: Path = Path.of(System.getProperty("golden"))

@Suppress("UNCHECKED_CAST")
fun goldenRows(name: String): List<Map<String, Any?>> =
    parseJson(StringReader(Files.readString(GOLDEN.resolve(name))), name) as List<Map<String, Any?>>

@Suppress("UNCHECKED_CAST")
fun ints(value: Any?): List<Int> = (value as List<Long>).map { it.toInt() }

/** Copies a folder without folders in it. */
fun copyFolder(from: Path, to: Path): Path {
    Files.createDirectories(to)
    Files.list(from).use { paths -> paths.forEach { Files.copy(it, to.resolve(it.fileName), REPLACE_EXISTING) } }
    return to
}

/** Decodes pictures with the JVM's own codecs. */
val imageIo = PictureDecoder { bytes ->
    val image: BufferedImage = ImageIO.read(ByteArrayInputStream(bytes)) ?: throw BadRequest("not a picture")
    val pixels = argb(image)
    object : PixelRows {
        override val width = image.width
        override val height = image.height
        override fun read(y: Int, argb: IntArray) {
            pixels.copyInto(argb, 0, y * width, (y + 1) * width)
        }
    }
}

/** Java holds grey for linear light and would brighten it, so grey bytes are taken as they are. */
private fun argb(image: BufferedImage): IntArray {
    if (image.type != BufferedImage.TYPE_BYTE_GRAY) return image.getRGB(0, 0, image.width, image.height, null, 0, image.width)
    val grey = image.raster.getSamples(0, 0, image.width, image.height, 0, null as IntArray?)
    return IntArray(grey.size) { 0xFF shl 24 or (grey[it] * 0x010101) }
}

fun pictureFile(path: Path) = PictureFile(path.fileName.toString(), Files.readAllBytes(path), imageIo)

fun picture(path: Path): Picture = pictureFile(path).load()

/** An array of numpy: its shape, and its bytes in little-endian order. */
class Array(val shape: List<Int>, private val data: ByteBuffer) {
    fun floats(): FloatArray = FloatArray(data.remaining() / 4).also { data.asFloatBuffer().get(it) }

    fun bytes(): ByteArray = ByteArray(data.remaining()).also { data.duplicate().get(it) }
}

/** Reads an array of an .npz file. */
fun npz(path: Path, name: String): Array = ZipFile(path.toFile()).use { zip ->
    val bytes = zip.getInputStream(zip.getEntry("$name.npy")).readBytes()
    val headerBytes = ByteBuffer.wrap(bytes, 8, 2).order(ByteOrder.LITTLE_ENDIAN).getShort().toInt()
    val header = String(bytes, 10, headerBytes, Charsets.ISO_8859_1)
    val shape = Regex("'shape': \\(([^)]*)\\)").find(header)!!.groupValues[1]
    val sizes = shape.split(",").filter { it.isNotBlank() }.map { it.trim().toInt() }
    Array(sizes, ByteBuffer.wrap(bytes, 10 + headerBytes, bytes.size - 10 - headerBytes).slice().order(ByteOrder.LITTLE_ENDIAN))
}
