import Foundation

@testable import DemoModel

/// An open bundle that answers as it is told, and notes what it was asked.
final class FakeAnswering: Answering, @unchecked Sendable {
    let summary: BundleSummary
    var pieces = ["a ", "dog"]
    var failure: Problem?
    var endless = false
    var waiting = Waiting.hot
    var asked: [String] = []
    var record = Data()
    var isClosed = false

    init(_ folder: URL) {
        summary = BundleSummary(
            name: folder.lastPathComponent, folder: folder, target: "coreml", quantisation: "none", keptTokens: 2,
            visualTokens: 9, maxPhotos: 3, hasFollowUps: true)
    }

    func canFollowUp() async -> Bool { !asked.isEmpty }

    func ask(_ question: String, photos: [Photo], prune: Bool) -> AsyncThrowingStream<AnswerEvent, any Error> {
        asked.append("\(question), \(photos.count) photos, \(prune ? "pruned" : "unpruned")")
        return events(prune)
    }

    func followUp(_ question: String) -> AsyncThrowingStream<AnswerEvent, any Error> {
        asked.append("\(question), further")
        return events(true)
    }

    private func events(_ prune: Bool) -> AsyncThrowingStream<AnswerEvent, any Error> {
        let (pieces, failure, endless) = (pieces, failure, endless)
        return AsyncThrowingStream { stream in
            let task = Task {
                stream.yield(.stage("vision"))
                if prune { stream.yield(.kept(sampleView)) }
                for piece in pieces { stream.yield(.text(piece)) }
                stream.yield(.stage("tail"))
                if endless { try await untilCancelled() }
                if let failure { throw failure }
                let measured = Measured(
                    stages: [StageTime(stage: "vision", milliseconds: 3)], firstTokenMs: prune ? 100 : 400,
                    totalMs: 500, tokens: 2, tokensPerSecond: 20, prefilledTokens: 12)
                stream.yield(.finished(measured, text: pieces.joined(), isCut: false))
                stream.finish()
            }
            stream.onTermination = { _ in task.cancel() }
            Task {
                if case .failure(let error) = await task.result { stream.finish(throwing: error) }
            }
        }
    }

    func benchmark(_ plan: BenchmarkPlan, device: any DeviceWatch) -> AsyncThrowingStream<BenchmarkEvent, any Error> {
        asked.append("benchmark of \(plan.pairs) pairs: \(plan.question)")
        let (record, failure, endless, waiting) = (record, failure, endless, waiting)
        return AsyncThrowingStream { stream in
            let task = Task {
                stream.yield(.run(done: 1, total: 4))
                stream.yield(.waiting(waiting))
                if endless { try await untilCancelled() }
                if let failure { return stream.finish(throwing: failure) }
                stream.yield(.finished(json: record))
                stream.finish()
            }
            stream.onTermination = { _ in task.cancel() }
        }
    }

    func close() async { isClosed = true }
}

/// Waits for the end of the task.
private func untilCancelled() async throws {
    while true { try await Task.sleep(for: .seconds(3600)) }
}

let sampleView = KeptView(
    photo: 0, seen: Area(left: 0, top: 0, right: 1, bottom: 1),
    patches: [Area(left: 0, top: 0, right: 0.5, bottom: 0.5), Area(left: 0.5, top: 0, right: 1, bottom: 0.5)],
    visualTokens: 9)

struct FakeOpening: Opening {
    let answering: FakeAnswering
    var failure: Problem?

    func open(_ folder: URL, progress: @escaping @Sendable (LoadStep) -> Void) async throws -> any Answering {
        progress(.verifying(fraction: 1))
        progress(.loading(stage: "vision", nth: 1, stages: 5))
        if let failure { throw failure }
        return answering
    }
}

struct FakeDevice: DeviceWatch {
    var thermal = DeviceMoment.Thermal.nominal

    func availableBytes() -> Int? { 1 << 30 }
    func peakBytes() -> Int? { 123 }
    func moment() -> DeviceMoment {
        DeviceMoment(
            seconds: 0, memoryBytes: 1, availableBytes: 1 << 30, batteryFraction: 0.9, isCharging: false,
            thermal: thermal, isLowPower: false)
    }
}

/// A new folder for one test.
func scratchFolder() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appending(path: "demo-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
}

/// The repository's golden files, three folders above the package.
let golden = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../../tests/golden")
    .standardized
