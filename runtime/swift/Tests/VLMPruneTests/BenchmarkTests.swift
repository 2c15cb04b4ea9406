#if canImport(VLMPruneOnnx)
import Foundation
import Testing
import VLMPruneOnnx

@testable import VLMPrune

struct BenchmarkTests {
    @Test(arguments: GoldenSet.all)
    func recordsHaveTheCountsOfPython(set: GoldenSet) async throws {
        let runner = try set.runner()
        let names = set.folder.isEmpty ? ["image.png"] : ["first.png", "second.png"]
        let pictures = try names.map { name in
            try BenchmarkPicture(golden.appending(path: set.folder + name)) { try decodedPNG($0) }
        }
        let benchmark = try Benchmark(pictures: pictures, prompt: "why?", repetitions: 2, warmups: 1, tokens: 3)
        let seen = Seen()
        let record = try await benchmark.measure(runner, progress: { seen.add($0) })
        let result = record.results[0]
        #expect(result.runs.map(\.pruned) == [false, true, true, false])
        #expect(result.runs.allSatisfy { $0.decodeMs.count == 2 })
        #expect(result.pruned.stagesMs.keys.contains("prune") && !result.unpruned.stagesMs.keys.contains("prune"))
        #expect(result.pruned.flops.map { $0.tail < result.unpruned.flops?.tail ?? 0 } == true)
        #expect(seen.fractions == seen.fractions.sorted() && seen.fractions.last == 1)
        let expected = try json(golden.appending(path: "benchmark.json"))[set.bundle]
        #expect(counts(record).encoded == expected?.encoded)
    }

    @Test func aRecordIsReadBackAsItWasWritten() async throws {
        let set = GoldenSet.all[0]
        let picture = try BenchmarkPicture(golden.appending(path: "image.png")) { try decodedPNG($0) }
        let benchmark = try Benchmark(pictures: [picture], prompt: "why?", repetitions: 1, warmups: 1, tokens: 1)
        let record = try await benchmark.measure(try set.runner())
        #expect(try BenchmarkRecord(json: record.json()) == record)
        #expect(throws: BadRequest.self) { try BenchmarkRecord(json: Data("{}".utf8)) }
    }

    @Test func aBenchmarkEndsWhenItIsCancelled() async throws {
        let runner = try GoldenSet.all[0].runner()
        let picture = try BenchmarkPicture(golden.appending(path: "image.png")) { try decodedPNG($0) }
        let benchmark = try Benchmark(pictures: [picture], prompt: "why?", repetitions: 100_000, warmups: 1, tokens: 2)
        let seen = Seen()
        let task = Task { try await benchmark.measure(runner, progress: { seen.add($0) }) }
        while seen.fractions.count < 3 { try await Task.sleep(for: .milliseconds(2)) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func theCallsOfAStageAreOneTime() {
        let calls = [("embed", 1.0), ("vision", 2.0), ("vision", 3.0), ("tail", 4.0)]
        let times = Timings(stages: calls.map { StageTime(stage: $0.0, ms: $0.1) }, ttftMs: 11, decodeMs: [])
        #expect(times.byStage.map(\.stage) == ["embed", "vision", "tail"])
        #expect(times.byStage.map(\.ms) == [1, 5, 4])
    }

    @Test func percentilesAreInterpolated() {
        let spread = BenchmarkRecord.Spread([4, 1, 2, 3, 11])
        #expect(spread == BenchmarkRecord.Spread(p50: 3, p90: 8.2, min: 1))
        let ratio = BenchmarkRecord.PairedRatio([10, 40, 90], [5, 10, 30])
        #expect(ratio == BenchmarkRecord.PairedRatio(median: 3, p10: 2.2, p90: 3.8))
    }

    @Test(arguments: [
        (700, "700 B"), (2048, "2.0 KiB"), (3_000_000, "2.9 MiB"), (300 << 20, "300 MiB"), (5 << 30, "5.00 GiB"),
    ])
    func sizesAreWrittenAsEverywhere(bytes: Int, text: String) { #expect(formatBytes(bytes) == text) }

    @Test func aBundleThatTakesMoreMemoryThanThereIsIsRefused() throws {
        let memory = MemoryEstimate(weightsBytes: 1, kvCacheBytes: 1, activationsBytes: 1, peakBytes: 3 << 30)
        #expect(throws: BadRequest.self) { try memory.check(available: 2 << 30) }
        #expect(throws: Never.self) { try memory.check(available: nil) }
        #expect(throws: Never.self) { try memory.check(available: 3 << 30) }
    }

    /// Everything of a record that no clock decides.
    private func counts(_ record: BenchmarkRecord) -> JSONValue {
        let result = record.results[0]
        func mode(_ stats: BenchmarkRecord.ModeStats) -> [JSONValue] {
            let flops = stats.flops
            return [flops?.vision, flops?.head, flops?.tail, flops?.decode, stats.kvCacheFilledBytes].map {
                $0.map(JSONValue.integer) ?? .null
            }
        }
        let numbers = [
            result.images, result.promptTokens, result.bundle.visualTokens, result.bundle.keep, result.bundle.layer,
        ]
        let further = result.followUpTokens.map(JSONValue.integer) ?? .null
        let cache = result.memory.kvCacheAllocatedBytes.map(JSONValue.integer) ?? .null
        return .list(numbers.map(JSONValue.integer) + [further, cache] + mode(result.unpruned) + mode(result.pruned))
    }
}

private final class Seen: @unchecked Sendable {
    private let lock = NSLock()
    private var seen: [Double] = []

    func add(_ progress: BenchmarkProgress) { lock.withLock { seen.append(progress.fraction) } }

    var fractions: [Double] { lock.withLock { seen } }
}
#endif
