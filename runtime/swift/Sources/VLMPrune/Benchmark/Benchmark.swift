import Foundation

/// A picture of a benchmark; `load` decodes its file, which counts as a part of the time to the first token.
public struct BenchmarkPicture: Sendable {
    public let name: String
    public let sha256: String?
    let load: @Sendable () throws -> Picture

    public init(name: String, sha256: String? = nil, load: @escaping @Sendable () throws -> Picture) {
        self.name = name
        self.sha256 = sha256
        self.load = load
    }

    /// Takes a picture's file; `decode` decodes its bytes.
    public init(_ file: URL, decode: @escaping @Sendable ([UInt8]) throws -> Picture) throws {
        let path = file.path
        name = file.lastPathComponent
        sha256 = VLMPrune.sha256(try bytesOfPicture(path))
        load = { try decode(try bytesOfPicture(path)) }
    }

    /// Takes the bytes of a picture's file.
    public init(name: String, file: Data, decode: @escaping @Sendable (Data) throws -> Picture) {
        self.init(name: name, sha256: VLMPrune.sha256([UInt8](file))) { try decode(file) }
    }
}

private func bytesOfPicture(_ path: String) throws -> [UInt8] {
    guard let data = FileManager.default.contents(atPath: path) else {
        throw BadRequest("no such image: \(shortRepr(path))")
    }
    return [UInt8](data)
}

/// How far a benchmark is: `done` of `total` runs, and what is measured now.
public struct BenchmarkProgress: Sendable, Equatable {
    public let done: Int
    public let total: Int
    public let label: String

    public var fraction: Double { Double(done) / Double(max(1, total)) }
}

/// What was measured before the first run: loading, which only the caller sees.
public struct LoadMeasurement: Sendable {
    public let ms: Double
    public let beforeBytes: Int?
    public let afterBytes: Int?

    public init(ms: Double, beforeBytes: Int?, afterBytes: Int?) {
        self.ms = ms
        self.beforeBytes = beforeBytes
        self.afterBytes = afterBytes
    }

    /// Loads something, and measures the time and the memory that it takes.
    public static func of<Loaded: Sendable>(
        _ load: @Sendable () async throws -> Loaded
    ) async rethrows -> (Loaded, LoadMeasurement) {
        let (before, start) = (ProcessMemory.residentBytes, ContinuousClock.now)
        let loaded = try await load()
        let measured = LoadMeasurement(
            ms: milliseconds(since: start), beforeBytes: before, afterBytes: ProcessMemory.residentBytes)
        return (loaded, measured)
    }
}

/// Measures a bundle pruned and unpruned by turns, and returns the record that all runners write.
public struct Benchmark: Sendable {
    public static let samplePrompt = "Is the dog left of the bus?"
    public static let sampleFollowUp = "How many objects are there?"
    public static let defaultTokens = 16

    public let pictures: [BenchmarkPicture]
    public let prompt: String
    public let repetitions: Int
    public let warmups: Int
    public private(set) var tokens: Int?
    public let threads: Int?
    public let followUp: String?
    public let tool: BenchmarkRecord.Tool

    /// `threads` is what the engine was loaded with, nil for its own choice. `tokens` nil decodes 16 tokens, or as many
    /// as a shorter context has room for. Throws `BadRequest` for counts below 1.
    public init(
        pictures: [BenchmarkPicture], prompt: String = samplePrompt, repetitions: Int = 10, warmups: Int = 2,
        tokens: Int? = nil, threads: Int? = nil, followUp: String? = nil,
        tool: (name: String, version: String) = ("vlmprune-swift", packageVersion)
    ) throws {
        let counts = [("repetitions", repetitions), ("warmups", warmups), ("tokens", tokens ?? 1)]
        for (name, value) in counts where value < 1 {
            throw BadRequest("\(name): got \(value), allowed: 1 or more")
        }
        guard !pictures.isEmpty else { throw BadRequest("images: got none, allowed: 1 or more") }
        self.pictures = pictures
        self.prompt = prompt
        self.repetitions = repetitions
        self.warmups = warmups
        self.tokens = tokens
        self.threads = threads
        self.followUp = followUp
        self.tool = BenchmarkRecord.Tool(name: tool.name, version: tool.version)
    }

    private var task: BenchmarkTask {
        BenchmarkTask(pictures: pictures, prompt: prompt, tokens: answerTokens, followUp: followUp)
    }

    private var answerTokens: Int { tokens ?? Self.defaultTokens }

    /// Runs the benchmark; it ends early with `CancellationError` if its task is cancelled.
    ///
    /// `beforePair` is awaited before each measured round, so that a device can rest or cool down.
    public func measure(
        _ runner: Runner, load: LoadMeasurement? = nil, beforePair: @Sendable (Int) async throws -> Void = { _ in },
        progress: @Sendable (BenchmarkProgress) -> Void = { _ in }
    ) async throws -> BenchmarkRecord {
        var fitted = self
        fitted.tokens = try tokensThatFit(runner)
        return try await fitted.measureFitted(runner, load: load, beforePair: beforePair, progress: progress)
    }

    private func measureFitted(
        _ runner: Runner, load: LoadMeasurement?, beforePair: @Sendable (Int) async throws -> Void,
        progress: @Sendable (BenchmarkProgress) -> Void
    ) async throws -> BenchmarkRecord {
        let settings = try settings()
        var done = 0
        let total = 2 * (warmups + repetitions)
        func run(_ kind: String, _ round: Int, of rounds: Int, prune: Bool) async throws -> TimedRun {
            let label = "\(kind) \(round + 1) of \(rounds), \(prune ? "pruned" : "unpruned")"
            progress(BenchmarkProgress(done: done, total: total, label: label))
            await Task.yield()  // On a single core, whoever cancels has to get a turn.
            try Task.checkCancellation()
            let run = try await runner.aloneTimed(task, prune: prune)
            done += 1
            return run
        }
        var peaks: [Int?] = []
        for prune in [true, false] {
            ProcessMemory.resetPeak()
            _ = try await run("warm-up", 0, of: warmups, prune: prune)
            peaks.append(ProcessMemory.peakBytes)
        }
        for (round, prune) in order(warmups - 1) { _ = try await run("warm-up", round + 1, of: warmups, prune: prune) }
        let before = DeviceState.now
        var runs: [(round: Int, prune: Bool, run: TimedRun)] = []
        for (nth, (round, prune)) in order(repetitions).enumerated() {
            if nth.isMultiple(of: 2) { try await beforePair(round) }
            runs.append((round, prune, try await run("round", round, of: repetitions, prune: prune)))
        }
        progress(BenchmarkProgress(done: total, total: total, label: "finished"))
        let result = try result(runner, load, peaks, runs)
        return BenchmarkRecord(
            created: timestamp(), tool: tool, device: DeviceState.describe(before: before, after: .now),
            settings: settings,
            results: [result])
    }

    /// Each round runs both modes, A B, then B A.
    private func order(_ rounds: Int) -> [(round: Int, prune: Bool)] {
        var order: [(round: Int, prune: Bool)] = []
        for round in 0..<max(0, rounds) {
            let prunesFirst = round % 2 == 1
            order += [(round, prunesFirst), (round, !prunesFirst)]
        }
        return order
    }

    private func settings() throws -> BenchmarkRecord.Settings {
        let images = try pictures.map { picture in
            let loaded = try picture.load()
            return BenchmarkRecord.Image(
                name: picture.name, sha256: picture.sha256, widthPx: loaded.width, heightPx: loaded.height)
        }
        return BenchmarkRecord.Settings(
            repetitions: repetitions, warmups: warmups, tokens: answerTokens, threads: threads, prompt: prompt,
            image: images[0],
            images: images.count > 1 ? images : [], followUp: followUp ?? Self.sampleFollowUp)
    }

    /// Returns how many tokens every answer gets. Throws `BadRequest` unless they fit the context; the last token is not
    /// written to the cache.
    private func tokensThatFit(_ runner: Runner) throws -> Int {
        let prompt = try runner.question(task, prune: true).0.tokenIds.count
        let room = runner.engine.contextTokens - prompt + 1
        let wanted = tokens ?? max(1, min(Self.defaultTokens, room))
        guard wanted <= room else {
            let needed = "prompt and answer take \(prompt + wanted - 1) tokens"
            let advice = room > 0 ? "; answers of \(room) tokens fit" : ""
            throw BadRequest("\(needed), the context has \(runner.engine.contextTokens)\(advice)")
        }
        _ = try runner.followUpTokens(task, used: prompt + wanted)
        return wanted
    }

    private func result(
        _ runner: Runner, _ load: LoadMeasurement?, _ peaks: [Int?], _ runs: [(round: Int, prune: Bool, run: TimedRun)]
    ) throws -> BenchmarkRecord.Result {
        let manifest = runner.bundle.manifest
        let (whole, kept) = (try runner.question(task, prune: false).0, try runner.question(task, prune: true).0)
        let (unpruned, pruned) = (runs.filter { !$0.prune }.map(\.run), runs.filter(\.prune).map(\.run))
        let slow = manifest.prefillFlops(promptTokens: whole.tokenIds.count, grids: whole.grids, prune: false)
        let fast = manifest.prefillFlops(promptTokens: kept.tokenIds.count, grids: kept.grids, prune: true)
        let ratios = BenchmarkRecord.Ratios(unpruned: unpruned, pruned: pruned)
        let further = try runner.followUpTokens(task, used: whole.tokenIds.count + answerTokens)
        return BenchmarkRecord.Result(
            bundle: try BenchmarkRecord.BundleInfo(runner.bundle, whole.grids[0], kept.grids[0]),
            engine: BenchmarkRecord.Engine(
                name: runner.engine.runtime.name, version: runner.engine.runtime.version,
                unit: runner.engine.runtime.unit),
            images: pictures.count, promptTokens: whole.tokenIds.count, followUpTokens: further.map { 1 + $0.count },
            loadMs: load.map { rounded($0.ms) }, unpruned: stats(manifest, unpruned, whole, slow, prune: false),
            pruned: stats(manifest, pruned, kept, fast, prune: true), ratios: ratios,
            ceilings: BenchmarkRecord.Ceilings(ratios, slow: slow, fast: fast, unpruned: unpruned),
            memory: memory(runner, load, peaks), runs: runs.map { BenchmarkRecord.Run($0.round, $0.prune, $0.run) })
    }

    private func stats(
        _ manifest: Manifest, _ runs: [TimedRun], _ prompt: EncodedPrompt, _ flops: StageFlops, prune: Bool
    ) -> BenchmarkRecord.ModeStats {
        let rows = manifest.rowsOfDecoders(promptTokens: prompt.tokenIds.count, grids: prompt.grids, prune: prune)
        let ran = Set(runs.flatMap { $0.timings.stages.map(\.stage) }).filter(isTimed)
        let decode = runs[0].timings.decodeMs.isEmpty ? nil : BenchmarkRecord.Spread(runs.map(\.timings.meanDecodeMs))
        let further = runs.compactMap(\.followUpMs)
        let times = ran.map { stage in (stage, BenchmarkRecord.Spread(runs.map { $0.timings.ms(of: stage) })) }
        return BenchmarkRecord.ModeStats(
            stagesMs: Dictionary(uniqueKeysWithValues: times),
            llmPrefillMs: BenchmarkRecord.Spread(runs.map(\.timings.llmPrefillMs)),
            ttftMs: BenchmarkRecord.Spread(runs.map(\.timings.ttftMs)),
            decodeMsPerToken: decode,
            decodeTokensPerS: decode.flatMap { $0.p50 > 0 ? rounded(1000 / $0.p50) : nil },
            followUpMs: further.isEmpty ? nil : BenchmarkRecord.Spread(further),
            flops: BenchmarkRecord.Flops(
                vision: flops.vision, head: flops.head, tail: flops.tail, decode: manifest.decodeFlops(behind: rows).llm
            ),
            kvCacheFilledBytes: manifest.cacheBytes(runs[runs.count - 1].pastTokens))
    }

    private func memory(_ runner: Runner, _ load: LoadMeasurement?, _ peaks: [Int?]) -> BenchmarkRecord.Memory {
        let manifest = runner.bundle.manifest
        let full = manifest.stages(of: .decoder).map { ($0, runner.engine.contextTokens) }
        return BenchmarkRecord.Memory(
            measure: ProcessMemory.measure, beforeLoadBytes: load?.beforeBytes, afterLoadBytes: load?.afterBytes,
            prunedPeakBytes: peaks[0], unprunedPeakBytes: peaks[1],
            kvCacheAllocatedBytes: manifest.cacheBytes(Dictionary(uniqueKeysWithValues: full)))
    }
}

/// The version of the package, which is that of the whole project.
public let packageVersion = "0.1.0.dev0"

private let timedStages = ["preprocess", "vision", "embed", "prune_vision", "head", "prune", "tail"]

/// Says whether a record has a place for the stage's time.
private func isTimed(_ stage: String) -> Bool { timedStages.contains(stage) }

private func timestamp() -> String {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withFullDate, .withFullTime]
    return formatter.string(from: Date()).replacing("Z", with: "+00:00")
}

extension BenchmarkRecord.Run {
    init(_ round: Int, _ prune: Bool, _ run: TimedRun) {
        let stages = Set(run.timings.stages.map(\.stage)).filter(isTimed).map { ($0, rounded(run.timings.ms(of: $0))) }
        self.init(
            round: round, pruned: prune, stagesMs: Dictionary(uniqueKeysWithValues: stages),
            ttftMs: rounded(run.timings.ttftMs), decodeMs: run.timings.decodeMs.map(rounded),
            followUpMs: run.followUpMs.map(rounded))
    }
}

extension BenchmarkRecord.BundleInfo {
    init(_ bundle: Bundle, _ whole: Int, _ kept: Int) throws {
        let manifest = bundle.manifest
        self.init(
            name: manifest.name, folder: bundle.folder.standardizedFileURL.lastPathComponent,
            manifestSha256: try bundle.manifestSha256(), verified: bundle.isVerified,
            sourceModel: manifest.source.model,
            sourceSha256: manifest.source.sha256, modelType: manifest.modelType, target: manifest.target.rawValue,
            quantisation: manifest.quantisation.rawValue, method: manifest.prunerMethod, layer: manifest.layer,
            visualTokens: manifest.grids[whole].visualTokens, keep: manifest.grids[kept].keptTokens,
            versions: manifest.versions)
    }
}
