import Foundation
import Testing

@testable import DemoModel

@MainActor
struct BenchmarkTests {
    let answering = FakeAnswering(URL(filePath: "/bundles/pocket"))
    let photo = Photo(name: "a.jpg", bytes: Data([1]))

    func ready(_ device: FakeDevice = FakeDevice()) async throws -> DemoModel {
        answering.record = record(prunedTail: 20)
        let opener = FakeOpening(answering: answering)
        let model = DemoModel(documents: try scratchFolder(), opener: opener, device: device, samplePhoto: photo)
        model.open(URL(filePath: "/bundles/pocket"))
        await model.finish()
        return model
    }

    @Test func aBenchmarkIsMeasuredKeptAndCompared() async throws {
        let model = try await ready()
        model.pairs = 2
        model.startBenchmark()
        await model.finish()
        #expect(answering.asked == ["benchmark of 2 pairs: What is in the picture?"])
        let first = try #require(model.shown)
        #expect(first.rows.map(\.stage) == ["vision", "tail", "llm_prefill", "first_token", "follow_up"])
        #expect(
            first.speedups == [
                Speedup(kind: .firstToken, measured: 2.5, ceiling: 3.4),
                Speedup(kind: .prefill, measured: 5, ceiling: 6),
            ])
        #expect((first.moments.count, first.disturbances, model.state) == (3, [], .ready))
        #expect(first.csv.split(separator: "\n")[1] == "pocket,2026-01-01T00:00:00Z,vision,unpruned,10.0,12.0,9.0")
        model.setBaseline(first.id)
        answering.record = record(prunedTail: 30)
        model.startBenchmark()
        await model.finish()
        let second = try #require(model.shown)
        let change = second.change(of: second.rows[1], pruned: true, from: model.baselineReport)
        #expect((model.reports.count, change) == (2, 50))
        model.delete(report: second.id)
        #expect((model.reports.map(\.id), model.shown) == ([first.id], nil))
    }

    @Test func aBenchmarkThatIsStoppedKeepsNothing() async throws {
        let model = try await ready()
        answering.endless = true
        model.startBenchmark()
        while model.state != .benchmarking(done: 1, total: 4, waiting: .hot) {
            try await Task.sleep(for: .milliseconds(2))
        }
        model.stop()
        await model.finish()
        #expect((model.state, model.reports, model.problem) == (.ready, [], nil))
    }

    @Test func heatIsSaidToHaveDisturbed() async throws {
        let model = try await ready(FakeDevice(thermal: .serious))
        model.startBenchmark()
        await model.finish()
        #expect(model.shown?.disturbances == [.ranHot])
    }

    @Test func recordsOfOneSecondHaveNamesThatSortInTheirOrder() throws {
        let archive = ReportArchive(folder: try scratchFolder())
        var names: [String] = []
        for _ in 0..<3 {
            names.append(archive.newName(Date(timeIntervalSince1970: 0)))
            try archive.save(Data(), moments: [], as: names[names.count - 1])
        }
        #expect(Set(names).count == 3 && names == names.sorted())
    }

    @Test func aRunWaitsWhileTheDeviceIsHotAndWhileItsChargerChanges() async throws {
        let device = ScriptedDevice([
            (.serious, false), (.critical, nil), (.nominal, false), (.nominal, true), (.nominal, true), (.nominal, nil),
            (.nominal, false), (.nominal, false),
        ])
        let rest = DeviceRest(device, pause: {})
        let told = Told()
        try await rest.wait { told.add($0) }
        #expect(told.reasons == [.hot, .hot])
        try await rest.wait { told.add($0) }
        #expect(told.reasons == [.hot, .hot, .chargingChanged])
        try await rest.wait { told.add($0) }
        try await rest.wait { told.add($0) }
        #expect(told.reasons == [.hot, .hot, .chargingChanged, .chargingChanged])
    }

    @Test func aDeviceThatStaysHotIsMeasuredAllTheSame() async throws {
        let rest = DeviceRest(FakeDevice(thermal: .serious), pause: {})
        let told = Told()
        try await rest.wait { told.add($0) }
        #expect(Set(told.reasons) == [.hot])
    }

    @Test func whyARunWaitsIsShown() async throws {
        let model = try await ready()
        answering.waiting = .chargingChanged
        answering.endless = true
        model.startBenchmark()
        while model.state != .benchmarking(done: 1, total: 4, waiting: .chargingChanged) {
            try await Task.sleep(for: .milliseconds(2))
        }
        model.stop()
        await model.finish()
        #expect(model.state == .ready)
    }

    @Test func launchArgumentsMeasureAndLeaveARecord() async throws {
        let model = try await ready()
        let request = try #require(
            LaunchRequest(["app", "--bundle", "pocket", "--pairs", "3", "--record", "1.json", "--prompt", "Why?"]))
        await model.run(request)
        #expect(answering.asked == ["benchmark of 3 pairs: Why?"])
        #expect(try Data(contentsOf: model.archive.folder.appending(path: "1.json")) == answering.record)
        answering.failure = Problem(.engineFailed, "no room")
        await model.run(try #require(LaunchRequest(["--bundle", "pocket", "--record", "2.json"])))
        let told = try String(contentsOf: model.archive.folder.appending(path: "2.json.status"), encoding: .utf8)
        #expect(told == "failed engineFailed: no room")
        #expect(!FileManager.default.fileExists(atPath: model.archive.folder.appending(path: "2.json").path))
    }

    @Test func launchArgumentsThatNameOtherFoldersAreNone() {
        #expect(LaunchRequest(["app"]) == nil)
        #expect(LaunchRequest(["--bundle", "../x", "--record", "1.json"]) == nil)
        #expect(LaunchRequest(["--bundle", "x", "--record", "/tmp/1.json"]) == nil)
        #expect(LaunchRequest(["--bundle", "x", "--record", "1.json", "--pairs", "-4"])?.pairs == 1)
    }

    /// A record with the fields that the screens read, and others.
    private func record(prunedTail: Double) -> Data {
        func times(_ p50: Double) -> String { "{\"p50\": \(p50), \"p90\": \(p50 + 2), \"min\": \(p50 - 1)}" }
        func mode(_ tail: Double) -> String {
            """
            {"stages_ms": {"tail": \(times(tail)), "vision": \(times(10))}, "ttft_ms": \(times(100)),
             "llm_prefill_ms": \(times(80)), "decode_ms_per_token": null, "follow_up_ms": \(times(50)), "decode_tokens_per_s": null}
            """
        }
        let text = """
            {"kind": "benchmark", "record_version": 1, "created": "2026-01-01T00:00:00Z", "settings": {"repetitions": 2},
             "results": [{"bundle": {"name": "pocket"}, "unpruned": \(mode(200)), "pruned": \(mode(prunedTail)),
             "ratios": {"ttft": {"median": 2.5}, "llm_prefill": {"median": 5}},
             "ceilings": {"ttft": 3.4, "llm_prefill": 6}, "memory": {"pruned_peak_bytes": 1, "unpruned_peak_bytes": 2}}]}
            """
        return Data(text.utf8)
    }
}

/// A device whose thermal state and charger are as a script says, moment by moment; the last line stays.
private final class ScriptedDevice: DeviceWatch, @unchecked Sendable {
    private var script: [(thermal: DeviceMoment.Thermal, isCharging: Bool?)]

    init(_ script: [(DeviceMoment.Thermal, Bool?)]) { self.script = script }

    func availableBytes() -> Int? { nil }
    func peakBytes() -> Int? { nil }

    @MainActor func moment() -> DeviceMoment {
        let now = script.count > 1 ? script.removeFirst() : script[0]
        return DeviceMoment(
            seconds: 0, memoryBytes: nil, availableBytes: nil, batteryFraction: nil, isCharging: now.isCharging,
            thermal: now.thermal, isLowPower: false)
    }
}

private final class Told: @unchecked Sendable {
    private let lock = NSLock()
    private var told: [Waiting] = []

    func add(_ reason: Waiting) { lock.withLock { told.append(reason) } }

    var reasons: [Waiting] { lock.withLock { told } }
}
