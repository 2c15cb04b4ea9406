package org.vlmprune.runtime

import kotlin.test.Test
import kotlin.test.assertContentEquals

class PreprocessTest {
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
