package org.vlmprune.runtime

import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.TestFactory
import org.junit.jupiter.api.io.TempDir
import java.nio.file.Files
import java.nio.file.Path
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class BundleTest {
    @TempDir
    lateinit var scratch: Path

    @Test
    fun `golden bundles open and say what they are`() {
        val bundle = openBundle(GOLDEN.resolve("bundle"))
        assertEquals(listOf("embed", "vision", "head", "prune", "tail"), bundle.manifest.prefill)
        assertEquals(listOf(4), bundle.manifest.grids.single().keep)
        val two = openBundle(GOLDEN.resolve("bundle_two_pictures"))
        assertEquals(3, two.manifest.positions.axes)
        assertEquals("input", two.manifest.cuts.single().at)
    }

    @Test
    fun `progress ends at the whole`() {
        val seen = mutableListOf<Double>()
        openBundle(GOLDEN.resolve("bundle")) { seen += it }
        assertEquals(1.0, seen.last())
        assertEquals(seen.sorted(), seen)
    }

    @TestFactory
    fun `a changed manifest is refused at the same place as in Python`(): List<DynamicTest> =
        goldenRows("bundle_errors.json").map { case ->
            DynamicTest.dynamicTest(case["name"] as String) {
                val error = assertFailsWith<BundleError> { openBundle(changed(case)) }
                assertEquals(case["file"], error.file, error.message)
                assertEquals(case["field"], error.field, error.message)
            }
        }

    @Test
    fun `what is no manifest is refused in one line`() {
        val texts = listOf("", "[]", "{", "{\"a\": 1, \"a\": 2}", "[".repeat(9999), "{\"schema\": {\"major\": 2, \"minor\": 0}} x")
        for (text in texts) {
            val folder = copyFolder(GOLDEN.resolve("bundle"), scratch.resolve("text"))
            Files.writeString(folder.resolve("bundle.json"), text)
            val error = assertFailsWith<BundleError> { openBundle(folder) }
            assertTrue(error.message!!.lines().size == 1 && error.message!!.length < 1000, error.message)
        }
    }

    @Test
    fun `fields of a newer minor version are ignored`() {
        val case = mapOf("path" to listOf("schema", "minor"), "value" to 99L)
        val further = mapOf("path" to listOf("colour"), "value" to "red")
        assertEquals("handmade", openBundle(changed(case, further)).manifest.name)
    }

    @Test
    fun `tiles that are pruned together have a number behind those of the grids, and the tokens of all tiles`() {
        val mosaics = listOf(mapOf("rows" to 1L, "columns" to 2L), mapOf("rows" to 2L, "columns" to 2L))
        val manifest = openBundle(changed(mapOf("path" to listOf("mosaics"), "value" to mosaics))).manifest
        assertEquals(listOf(1, 2), listOf(manifest.mosaicIndex(1, 2), manifest.mosaicIndex(2, 2)))
        assertEquals(listOf(listOf(16, 4), listOf(32, 8), listOf(64, 16)), (0..2).map(manifest::tokensOf))
        val error = assertFailsWith<BadRequest> { manifest.mosaicIndex(1, 3) }
        assertTrue("1 x 3 tiles; allowed: 1 x 2, 2 x 2" in error.message!!, error.message)
    }

    @Test
    fun `mosaics that do not fit the grids are refused`() {
        fun refused(vararg mosaics: Map<String, Long>) =
            assertFailsWith<BundleError> { openBundle(changed(mapOf("path" to listOf("mosaics"), "value" to mosaics.toList()))) }.message!!
        assertTrue("as many rows" in refused(mapOf("rows" to 1, "columns" to 2), mapOf("rows" to 1, "columns" to 2)))
        assertTrue("grid that is not there" in refused(mapOf("rows" to 1, "columns" to 2, "grid" to 1)))
        assertTrue("mosaics.0.rows" in refused(mapOf("rows" to 0, "columns" to 2)))
    }

    @Test
    fun `a link that leads out of the folder is refused`() {
        val folder = copyFolder(GOLDEN.resolve("bundle"), scratch.resolve("linked"))
        val outside = Files.move(folder.resolve("tail.onnx"), scratch.resolve("tail.onnx"))
        Files.createSymbolicLink(folder.resolve("tail.onnx"), outside)
        assertEquals("tail.onnx", assertFailsWith<BundleError> { openBundle(folder) }.file)
    }

    private fun changed(vararg cases: Map<String, Any?>): Path {
        val folder = copyFolder(GOLDEN.resolve("bundle"), scratch.resolve("changed"))
        val manifest = parseJson(Files.newBufferedReader(folder.resolve("bundle.json")), "bundle.json")
        val edited = cases.fold(manifest) { document, case -> edited(document, case["path"] as List<*>, case) }
        Files.writeString(folder.resolve("bundle.json"), toJson(edited))
        return folder
    }

    private fun edited(document: Any?, path: List<*>, case: Map<String, Any?>): Any? {
        val (key, rest) = path.first() to path.drop(1)
        if (document is List<*>) {
            return document.mapIndexed { nth, item -> if (nth.toLong() == key) inside(item, rest, case) else item }
        }
        val fields = (document as Map<*, *>).toMutableMap()
        if (rest.isEmpty() && "value" !in case) fields -= key else fields[key] = inside(fields[key], rest, case)
        return fields
    }

    private fun inside(item: Any?, rest: List<*>, case: Map<String, Any?>): Any? =
        if (rest.isEmpty()) case["value"] else edited(item, rest, case)
}
