#if canImport(VLMPruneOnnx)
import Foundation
import Testing

@testable import VLMPrune

/// The command as a process of its own.
struct CommandTests {
    private struct Outcome {
        let status: Int32
        let output: Data
        let errors: String
    }

    /// Runs the command with an empty home and no setting of telemetry.
    private func run(_ arguments: [String], home: URL) throws -> Outcome {
        let process = Process()
        let folder = try #require(Foundation.Bundle.main.executableURL).deletingLastPathComponent()
        process.executableURL = folder.appending(path: "vlmprune-bench-device")
        process.arguments = arguments
        let unset = ["ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"]
        let kept = ProcessInfo.processInfo.environment.filter { !unset.contains($0.key) }
        process.environment = kept.merging(["HOME": home.path]) { $1 }
        let (output, errors) = (Pipe(), Pipe())
        (process.standardOutput, process.standardError) = (output, errors)
        try process.run()
        let printed = output.fileHandleForReading.readDataToEndOfFile()
        let noted = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return Outcome(status: process.terminationStatus, output: printed, errors: noted)
    }

    @Test func itPrintsARecordAndLeavesNoFileBehindInAnEmptyHome() async throws {
        try await withScratch { home in
            let few = ["--repetitions", "1", "--warmups", "1", "--threads", "1"]
            let image = ["--image", golden.appending(path: "image.png").path]
            let done = try run([golden.appending(path: "bundle").path] + image + few, home: home)
            #expect(done.status == 0, "\(done.errors)")
            let record = try BenchmarkRecord(json: done.output)
            #expect(record.results.map(\.engine.name) == ["onnxruntime"])
            #expect(record.settings.tokens == 15)  // The context has no room for 16.
            #expect(record.results[0].runs.count == 2 && record.tool.name == "vlmprune-bench-device")
            #expect(done.errors.contains("these times are no Apple device's"))
            #expect(try FileManager.default.subpathsOfDirectory(atPath: home.path) == [])
        }
    }

    @Test(arguments: [["--nonsense"], [], ["/nowhere"], ["/nowhere", "--tokens", "many"]])
    func aMistakeIsSaidInOneLine(arguments: [String]) async throws {
        try await withScratch { home in
            let done = try run(arguments, home: home)
            #expect(done.status != 0 && done.output.isEmpty)
            #expect(done.errors.hasPrefix("error: ") && done.errors.split(separator: "\n").count == 1)
        }
    }
}
#endif
