package org.vlmprune.runtime

import java.nio.file.Files
import java.nio.file.Path
import kotlin.test.Test
import kotlin.test.assertEquals

class TelemetryTest {
    @Test
    fun `an answer leaves no file behind in an empty home`() {
        val home = Files.createTempDirectory("home")
        val java = Path.of(System.getProperty("java.home"), "bin", "java").toString()
        val command = listOf("answer", GOLDEN.resolve("bundle"), GOLDEN.resolve("image.png"), "why?", "2").map { it.toString() }
        val options = listOf("-cp", System.getProperty("java.class.path"), "-Dgolden=$GOLDEN", "-Duser.home=$home")
        val process = ProcessBuilder(listOf(java) + options + "org.vlmprune.runtime.CommandLineKt" + command)
        process.environment() += mapOf("HOME" to "$home", "XDG_CACHE_HOME" to "$home/cache", "XDG_DATA_HOME" to "$home/data")
        val run = process.redirectErrorStream(true).start()
        val said = run.inputStream.bufferedReader().readText()
        assertEquals(0, run.waitFor(), said)
        assertEquals(2, said.lines().count { it.startsWith("{") }, said)
        assertEquals(listOf(home), Files.walk(home).use { it.toList() })
    }
}
