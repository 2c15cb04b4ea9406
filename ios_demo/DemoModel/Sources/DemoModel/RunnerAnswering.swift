import Foundation
import VLMPrune

/// Opens bundles with the runtime, on the engine that `makeEngine` gives.
public struct RunnerOpening: Opening {
    public typealias Decoder = @Sendable (Data) throws -> Picture
    public typealias EngineMaker =
        @Sendable (VLMPrune.Bundle, @escaping @Sendable (LoadStep) -> Void) async throws -> any Engine

    private let decoder: Decoder
    private let targets: [Target]
    private let availableBytes: @Sendable () -> Int?
    private let makeEngine: EngineMaker

    /// `decoder` turns the bytes of a photo into pixels, `targets` are those that the engine can run.
    public init(
        decoder: @escaping Decoder, targets: [Target], availableBytes: @escaping @Sendable () -> Int? = { nil },
        makeEngine: @escaping EngineMaker
    ) {
        (self.decoder, self.targets) = (decoder, targets)
        (self.availableBytes, self.makeEngine) = (availableBytes, makeEngine)
    }

    public func open(_ folder: URL, progress: @escaping @Sendable (LoadStep) -> Void) async throws -> any Answering {
        let manifest = try VLMPrune.Bundle.readManifestOnly(in: folder)
        guard targets.contains(manifest.target) else { throw Problem(.wrongTarget, manifest.target.rawValue) }
        try checkMemory(manifest)
        let bundle = try VLMPrune.Bundle.open(folder) { fraction in progress(.verifying(fraction: fraction)) }
        let runner = try Runner(bundle, engine: await makeEngine(bundle, progress))
        for prune in [true, false] {
            progress(.warmingUp(pruned: prune))
            try await warmUp(runner, prune: prune)
        }
        return RunnerAnswering(runner, decoder: decoder)
    }

    /// Throws `Problem` before anything large is loaded: a system ends an app that takes too much, without a word.
    private func checkMemory(_ manifest: Manifest) throws {
        guard let free = availableBytes(), manifest.memory.peakBytes > free else { return }
        throw Problem(.lowMemory, "\(manifest.memory.peakBytes >> 20) MB / \(free >> 20) MB")
    }

    /// Answers one token about a grey picture, so that the first question is not the one that waits; a bundle that takes
    /// several pictures only is left cold.
    private func warmUp(_ runner: Runner, prune: Bool) async throws {
        let grey = try Picture(width: 64, height: 64, rgb: [UInt8](repeating: 128, count: 3 * 64 * 64))
        let request = Request(pictures: [grey], prompt: sampleQuestion, prune: prune, maxTokens: 1)
        do { _ = try await runner.answer(request) } catch is BadRequest {}
    }
}

/// A runner of the runtime as the model asks it.
struct RunnerAnswering: Answering {
    let summary: BundleSummary
    private let runner: Runner
    private let decoder: RunnerOpening.Decoder

    init(_ runner: Runner, decoder: @escaping RunnerOpening.Decoder) {
        (self.runner, self.decoder) = (runner, decoder)
        let manifest = runner.bundle.manifest
        summary = BundleSummary(
            name: manifest.name, folder: runner.bundle.folder, target: manifest.target.rawValue,
            quantisation: manifest.quantisation.rawValue, keptTokens: manifest.grids[0].keptTokens,
            visualTokens: manifest.grids[0].visualTokens, maxPhotos: manifest.prompt.pictures.most,
            hasFollowUps: manifest.prompt.followUp != nil)
    }

    func canFollowUp() async -> Bool { await runner.hasConversation }

    func ask(_ question: String, photos: [Photo], prune: Bool) -> AsyncThrowingStream<AnswerEvent, any Error> {
        events { output in
            let pictures = try photos.map(picture)
            let sizes = pictures.map { ($0.width, $0.height) }
            let request = Request(pictures: pictures, prompt: question, prune: prune)
            try await forward(runner.stream(request), sizes, to: output)
        }
    }

    func followUp(_ question: String) -> AsyncThrowingStream<AnswerEvent, any Error> {
        events { output in try await forward(runner.followUp(question), [], to: output) }
    }

    func benchmark(_ plan: BenchmarkPlan, device: any DeviceWatch) -> AsyncThrowingStream<BenchmarkEvent, any Error> {
        AsyncThrowingStream { output in
            let task = Task.detached {
                do {
                    output.yield(.finished(json: try await measure(plan, device, output)))
                    output.finish()
                } catch {
                    output.finish(throwing: error)
                }
            }
            output.onTermination = { _ in task.cancel() }
        }
    }

    func close() async {}

    private func measure(
        _ plan: BenchmarkPlan, _ device: any DeviceWatch,
        _ output: AsyncThrowingStream<BenchmarkEvent, any Error>.Continuation
    ) async throws -> Data {
        let photo = BenchmarkPicture(name: plan.photo.name, file: plan.photo.bytes, decode: decoder)
        let benchmark = try Benchmark(
            pictures: [photo], prompt: plan.question, repetitions: plan.pairs, warmups: plan.warmups,
            tokens: plan.tokens, tool: ("VLMPruneDemo", packageVersion))
        let (before, rest) = (await device.moment(), DeviceRest(device))
        let record = try await benchmark.measure(runner) { _ in
            try await rest.wait { output.yield(.waiting($0)) }
        } progress: { step in
            output.yield(.run(done: step.done, total: step.total))
        }
        let after = await device.moment()
        let battery = BenchmarkRecord.Battery(
            levelBeforeFraction: before.batteryFraction, levelAfterFraction: after.batteryFraction,
            charging: after.isCharging)
        return try record.with(battery).json()
    }

    private func picture(_ photo: Photo) throws -> Picture {
        do { return try decoder(photo.bytes) } catch { throw Problem(.unreadablePhoto, photo.name) }
    }

    private func events(
        _ run: @escaping @Sendable (AsyncThrowingStream<AnswerEvent, any Error>.Continuation) async throws -> Void
    ) -> AsyncThrowingStream<AnswerEvent, any Error> {
        AsyncThrowingStream { output in
            let task = Task.detached {
                do {
                    try await run(output)
                    output.finish()
                } catch {
                    output.finish(throwing: error)
                }
            }
            output.onTermination = { _ in task.cancel() }
        }
    }

    private func forward(
        _ events: AsyncThrowingStream<RunEvent, any Error>, _ sizes: [(Int, Int)],
        to output: AsyncThrowingStream<AnswerEvent, any Error>.Continuation
    ) async throws {
        for try await event in events {
            switch event {
            case .stage(let time): output.yield(.stage(time.stage))
            case .text(let piece): output.yield(.text(piece))
            // Kept tokens are drawn at the end, since where their view lies stands in the result.
            case .pruned: break
            case .finished(let result):
                for view in keptViews(result, sizes) { output.yield(.kept(view)) }
                output.yield(.finished(measured(result), text: result.text, isCut: result.reason == .length))
            }
        }
    }

    private func measured(_ result: RunResult) -> Measured {
        let timings = result.timings
        let decode = timings.decodeMs.reduce(0, +)
        return Measured(
            stages: timings.byStage.map { StageTime(stage: $0.stage, milliseconds: $0.ms) }
                + [StageTime(stage: "decode", milliseconds: decode)],
            firstTokenMs: timings.ttftMs, totalMs: timings.ttftMs + decode, tokens: result.tokenIds.count,
            tokensPerSecond: timings.decodeTokensPerSecond, prefilledTokens: result.prefilledTokens)
    }

    /// Returns what was kept of each view in fractions of its photo; `sizes` are those of the photos.
    private func keptViews(_ result: RunResult, _ sizes: [(Int, Int)]) -> [KeptView] {
        result.pruned.compactMap { kept in
            guard sizes.indices.contains(kept.picture),
                let seen = result.seen.first(where: { $0.picture == kept.picture && $0.view == kept.view })
            else { return nil }
            let (width, height) = (Double(sizes[kept.picture].0), Double(sizes[kept.picture].1))
            func area(_ box: Box) -> Area {
                Area(
                    left: box.left / width, top: box.top / height, right: box.right / width, bottom: box.bottom / height
                )
            }
            let patches = seen.patches(kept).sorted { $0.rank < $1.rank }
            return KeptView(
                photo: kept.picture, seen: area(seen.box), patches: patches.map { area($0.box) },
                visualTokens: kept.visualTokens)
        }
    }
}
