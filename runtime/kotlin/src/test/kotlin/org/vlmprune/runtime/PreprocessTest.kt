package org.vlmprune.runtime

import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import org.vlmprune.runtime.manifest.Rgb
import org.vlmprune.runtime.manifest.readImage
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

class PreprocessTest {
    @TestFactory
    fun `every kind of step gives the pixels of Python`(): List<DynamicTest> {
        val stored = npz(GOLDEN.resolve("image_steps/picture.npz"), "picture")
        val whole = Picture(stored.shape[1], stored.shape[0], stored.bytes())
        return goldenRows("image_steps/cases.json").map { case ->
            val (height, width) = ints(case["size"])
            DynamicTest.dynamicTest("${case["name"]} of $height x $width") {
                if (case["refused"] == true) return@dynamicTest refused(case, height, width)
                val spec = readImage(Field(mapOf("steps" to case["steps"]), "cases.json", emptyList(), lenient = false))
                val views = seenPictures(whole.cropped(0, 0, width, height, Rgb(0, 0, 0)), spec)
                val expected = (case["views"] as List<*>).map { it as Map<*, *> }
                assertEquals(expected.map { ints(it["size"]) }, views.map { listOf(it.height, it.width) })
                assertEquals(expected.map { it["sha256"] }, views.map { sha256(it.values(spec)) })
                assertPlaces(expected, viewsOf(Size(height, width), spec))
            }
        }
    }

    private fun refused(case: Map<String, Any?>, height: Int, width: Int) {
        val spec = readImage(Field(mapOf("steps" to case["steps"]), "cases.json", emptyList(), lenient = false))
        assertFailsWith<BadRequest> { viewsOf(Size(height, width), spec) }
        assertFailsWith<BadRequest> { seenPictures(Picture(width, height, ByteArray(3 * width * height)), spec) }
    }

    private fun assertPlaces(expected: List<Map<*, *>>, views: List<View>) {
        assertEquals(expected.map { it["role"] }, views.map { it.role.name.lowercase() })
        assertEquals(expected.map { it["row"] to it["column"] }, views.map { it.row?.toLong() to it.column?.toLong() })
        for ((row, view) in expected.zip(views)) {
            assertEquals(ints(row["size"]), listOf(view.size.height, view.size.width))
            val box = view.box.run { listOf(left, top, right, bottom) }
            (row["box"] as List<*>).zip(box) { edge, got -> assertEquals((edge as Number).toDouble(), got, 1e-9) }
        }
    }

    private fun sha256(values: FloatArray): String {
        val bytes = ByteBuffer.allocate(4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
        bytes.asFloatBuffer().put(values)
        return MessageDigest.getInstance("SHA-256").digest(bytes.array()).joinToString("") { "%02x".format(it) }
    }

    @Test
    fun `pixels are those of Python`() {
        val bundle = openBundle(GOLDEN.resolve("bundle"))
        val seen = seenPictures(picture(GOLDEN.resolve("image.png")), bundle.manifest.image).single()
        assertContentEquals(npz(GOLDEN.resolve("pixels.npz"), "seen").bytes(), seen.rgb)
        assertContentEquals(npz(GOLDEN.resolve("pixels.npz"), "pixels").floats(), seen.values(bundle.manifest.image))
    }

    @Test
    fun `pixels of both pictures are those of Python`() {
        val bundle = openBundle(GOLDEN.resolve("bundle_two_pictures"))
        val seen = listOf("first.png", "second.png").map {
            seenPictures(picture(GOLDEN.resolve("two_pictures/$it")), bundle.manifest.image).single()
        }
        val pixels = seen.flatMap { it.values(bundle.manifest.image).toList() }.toFloatArray()
        assertContentEquals(npz(GOLDEN.resolve("two_pictures/pixels.npz"), "seen").bytes(), seen[0].rgb + seen[1].rgb)
        assertContentEquals(npz(GOLDEN.resolve("two_pictures/pixels.npz"), "pixels").floats(), pixels)
    }
}
