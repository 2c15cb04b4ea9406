import Foundation
import VLMPrune

@main
struct Command {
    static func main() async {
        do {
            let arguments = try Arguments(Array(CommandLine.arguments.dropFirst()))
            if arguments.asksForHelp { print(Arguments.help) } else { try await run(arguments) }
        } catch let error as any VlmPruneError {
            note("error: \(error.message)")
            exit(error is BadRequest ? 2 : 1)
        } catch {
            note("error: \(error.localizedDescription)")
            exit(1)
        }
    }

    private static func run(_ arguments: Arguments) async throws {
        let folder = URL(fileURLWithPath: arguments.bundle)
        let memory = try VLMPrune.Bundle.readManifestOnly(in: folder).memory
        try memory.check(available: ProcessMemory.availableBytes)
        let pictures = try arguments.images.map {
            try BenchmarkPicture(URL(fileURLWithPath: $0), decode: decodePicture)
        }
        let scene = try drawnScene()
        let drawn = BenchmarkPicture(name: "drawn scene") { scene }
        let benchmark = try Benchmark(
            pictures: pictures.isEmpty ? [drawn] : pictures, prompt: arguments.prompt,
            repetitions: arguments.repetitions,
            warmups: arguments.warmups, tokens: arguments.tokens, threads: arguments.threads,
            followUp: arguments.followUp,
            tool: ("vlmprune-bench-device", packageVersion))
        note(
            "opening \(folder.lastPathComponent)\(arguments.verify ? ", checking \(formatBytes(memory.weightsBytes))" : "")"
        )
        let (runner, load) = try await LoadMeasurement.of {
            let bundle = try VLMPrune.Bundle.open(folder, verify: arguments.verify)
            return try Runner(bundle, engine: try await loadEngine(bundle, arguments))
        }
        let record = try await benchmark.measure(
            runner, load: load,
            progress: { step in
                note("\(step.done) of \(step.total): \(step.label)")
            })
        try write(record.json(), arguments.out)
    }

    private static func write(_ json: Data, _ path: String?) throws {
        guard let path else { return FileHandle.standardOutput.write(json + Data("\n".utf8)) }
        do {
            try json.write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw BadRequest("--out: \(path) cannot be written")
        }
    }
}
