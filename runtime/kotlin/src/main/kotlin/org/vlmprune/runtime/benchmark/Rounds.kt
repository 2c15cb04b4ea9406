package org.vlmprune.runtime.benchmark

/** One run of a round. */
data class ScheduledRun(val round: Int, val prune: Boolean)

/** Returns the runs in order: both modes of a round run one directly after the other, A B, in the next round B A. */
fun runOrder(rounds: Int): List<ScheduledRun> = (0 until rounds).flatMap { round ->
    val first = round % 2 == 1
    listOf(ScheduledRun(round, first), ScheduledRun(round, !first))
}
