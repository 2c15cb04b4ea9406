package org.vlmprune.runtime

import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import java.security.MessageDigest
import java.util.Base64
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class ImageLoadingTest {
    @TestFactory
    fun `files are turned as in Python`(): List<DynamicTest> = goldenRows("orientation.json").map { case ->
        DynamicTest.dynamicTest(case["name"] as String) {
            val bytes = Base64.getDecoder().decode(case["file"] as String)
            assertEquals(case["orientation"], exifOrientation(bytes).toLong())
            if (!(case["name"] as String).startsWith("WEBP")) { // the JVM has no decoder for it
                val loaded = PictureFile("file", bytes, imageIo).load()
                assertEquals(ints(case["size"]), listOf(loaded.height, loaded.width))
                case["sha256"]?.let { assertEquals(it, hexDigits(MessageDigest.getInstance("SHA-256").digest(loaded.rgb))) }
            }
        }
    }

    @Test
    fun `damaged files have an orientation, and an error names the file`() {
        val files = goldenRows("orientation.json").map { Base64.getDecoder().decode(it["file"] as String) }
        val random = Random(7)
        for (file in files) {
            for (length in file.indices) assertTrue(exifOrientation(file.copyOf(length)) in 1..8)
            repeat(200) {
                val damaged = file.copyOf().also { bytes -> repeat(4) { bytes[random.nextInt(bytes.size)] = random.nextInt().toByte() } }
                assertTrue(exifOrientation(damaged) in 1..8)
            }
        }
        val error = assertFailsWith<BadRequest> { PictureFile("notes.txt", "no picture".toByteArray(), imageIo).load() }
        assertEquals("image 'notes.txt': not a picture", error.message)
    }

    @Test
    fun `the hash of a picture is that of its file`() {
        val file = pictureFile(GOLDEN.resolve("image.png"))
        assertEquals(sha256Of(GOLDEN.resolve("image.png")), file.sha256)
    }
}
