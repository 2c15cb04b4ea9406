import Foundation

/// Measures a run and reports it to whoever reads its events. Only the run's own task uses it.
final class Recorder: @unchecked Sendable {
    private let events: AsyncThrowingStream<RunEvent, any Error>.Continuation
    private let start = ContinuousClock.now
    private var stages: [StageTime] = []
    private var decodeMs: [Double] = []
    private var ttftMs = 0.0

    init(_ events: AsyncThrowingStream<RunEvent, any Error>.Continuation) {
        self.events = events
    }

    var elapsedMs: Double { milliseconds(since: start) }

    var timings: Timings { Timings(stages: stages, ttftMs: ttftMs, decodeMs: decodeMs) }

    func emit(_ event: RunEvent) { events.yield(event) }

    func stage(_ name: String, _ ms: Double) {
        stages.append(StageTime(stage: name, ms: ms))
        emit(.stage(StageTime(stage: name, ms: ms)))
    }

    func firstToken() { ttftMs = elapsedMs }

    func decoded(_ ms: Double) { decodeMs.append(ms) }

    func text(_ piece: String) {
        if !piece.isEmpty { emit(.text(piece)) }
    }
}
