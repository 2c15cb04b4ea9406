#if canImport(VLMPruneOnnx)
import Foundation
import Testing
import VLMPruneOnnx

@testable import VLMPrune

/// An engine that notes its calls; while it holds, a call waits until its task is cancelled or it is let go.
private actor WatchedEngine: Engine {
    nonisolated let runtime = EngineRuntime(name: "watched", version: nil)
    nonisolated let contextTokens: Int
    private let engine: OnnxEngine
    private(set) var calls: [String] = []
    private var heldFrom = Int.max

    init(_ engine: OnnxEngine) {
        self.engine = engine
        contextTokens = engine.contextTokens
    }

    /// Holds all calls behind so many.
    func hold(after calls: Int) { heldFrom = calls }

    func letGo() { heldFrom = .max }

    func run(_ stage: String, inputs: [String: Tensor], grid: Int) async throws -> [String: Tensor] {
        calls.append(stage)
        let mine = calls.count
        while mine > heldFrom { try await Task.sleep(for: .milliseconds(2)) }
        return try await engine.run(stage, inputs: inputs, grid: grid)
    }
}

struct RunnerTests {
    private func watched() throws -> (Runner, WatchedEngine) {
        let bundle = try Bundle.open(golden.appending(path: "bundle"))
        let engine = WatchedEngine(try OnnxEngine(bundle, threads: 1))
        return (try Runner(bundle, engine: engine), engine)
    }

    private func request(_ prompt: String = "", prune: Bool = false, maxTokens: Int? = 12) throws -> Request {
        Request(
            pictures: [try goldenPicture("image.png")], prompt: prompt, prune: prune, maxTokens: maxTokens,
            sampling: .greedy)
    }

    @Test func anAnswerThatNobodyReadsAnyLongerEnds() async throws {
        let (runner, engine) = try watched()
        let prefill = ["embed", "vision", "head", "tail"]
        await engine.hold(after: prefill.count)
        for try await event in runner.stream(try request()) {
            if case .stage(let time) = event, time.stage == "tail" { break }
        }
        // Only the end of its task can end an answer that is held at its second token.
        while runner.gate.isBusy { try await Task.sleep(for: .milliseconds(2)) }
        #expect(await engine.calls.count <= prefill.count + 1)
        await engine.letGo()
        let result = try await runner.answer(try request())
        #expect(result.tokenIds.count == 12)
    }

    @Test func cancellingTheReadingTaskEndsTheAnswer() async throws {
        let (runner, engine) = try watched()
        await engine.hold(after: 0)
        let request = try request()
        let task = Task { try await runner.answer(request) }
        while await engine.calls.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func aNewerQuestionEndsTheAnswerBeforeBetweenItsStages() async throws {
        let (runner, engine) = try watched()
        await engine.hold(after: 0)
        let request = try request(maxTokens: 1)
        let older = Task { try await runner.answer(request) }
        while await engine.calls.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
        let newer = Task { try await runner.answer(request) }
        while runner.newest.withLock({ $0 }) < 2 { try await Task.sleep(for: .milliseconds(2)) }
        await engine.letGo()
        await #expect(throws: BadRequest.self) { try await older.value }
        #expect(try await newer.value.tokenIds.count == 1)
        #expect(await engine.calls == ["embed", "embed", "vision", "head", "tail"])
    }

    @Test func aFollowUpNeedsAConversation() async throws {
        let runner = try GoldenSet.all[1].runner()
        #expect(await !runner.hasConversation)
        await #expect(throws: BadRequest.self) { try await lastResult(of: runner.followUp("And then?")) }
    }

    @Test func whatCannotBeAskedIsRefusedBeforeAnyStageRuns() async throws {
        let (runner, engine) = try watched()
        let picture = try goldenPicture("image.png")
        let refused = [
            Request(pictures: [picture, picture, picture, picture], prompt: "why?"),
            Request(pictures: [], prompt: "why?"),
            Request(pictures: [picture], prompt: String(repeating: "why? ", count: 99)),
            Request(pictures: [picture], prompt: runner.bundle.manifest.prompt.imageToken),
        ]
        for request in refused {
            await #expect(throws: BadRequest.self, "\(request.prompt)") { try await runner.answer(request) }
        }
        #expect(await engine.calls.isEmpty)
        await #expect(throws: BadRequest.self) { try await runner.answer(try request(maxTokens: 0)) }
        #expect(throws: BadRequest.self) { try Sampling(temperature: -1) }
        #expect(throws: BadRequest.self) { try Sampling(topP: 0) }
    }

    @Test func aPrunedPromptRunsThePrunerOnce() async throws {
        let (runner, engine) = try watched()
        _ = try await runner.answer(try request(prune: true, maxTokens: 1))
        #expect(await engine.calls == ["embed", "vision", "head", "prune", "tail"])
    }

    @Test func samplingIsDecidedByItsSeed() async throws {
        let runner = try GoldenSet.all[0].runner()
        func tokens(seed: Int) async throws -> [Int] {
            var asked = try request()
            asked.sampling = try Sampling(temperature: 3, seed: seed)
            return try await runner.answer(asked).tokenIds
        }
        let (first, again, other) = (try await tokens(seed: 1), try await tokens(seed: 1), try await tokens(seed: 2))
        #expect(first == again && first != other)
    }

    @Test func keptPatchesComeInTheOrderInWhichTheyWereChosen() async throws {
        let runner = try GoldenSet.all[0].runner()
        let result = try await runner.answer(try request(prune: true, maxTokens: 1))
        let patches = result.keptPatches()
        #expect(patches.map(\.rank) == [0, 1, 2, 3])
        let first = try #require(patches.first)
        let (kept, rank) = (result.pruned[0].kept, result.pruned[0].rank)
        let place = try #require(rank.firstIndex(of: 0))
        #expect(first.box == result.seen[0].patch(kept[place]))
        #expect(patches.allSatisfy { abs($0.box.width - result.seen[0].box.width / 4) < 1e-9 })
    }
}

struct PenaltyTests {
    private func settings(_ change: (inout GenerationSpec) -> Void) -> GenerationSpec {
        var settings = GenerationSpec(stopTokenIds: [0])
        change(&settings)
        return settings
    }

    private func scores(
        _ logits: [Float], _ sequence: [Int], answer: Int = 0, limit: Int = 9, _ settings: GenerationSpec
    ) -> [Float] {
        penalised(logits, AnswerProgress(sequence: sequence, answerTokens: answer, limit: limit), settings)
    }

    @Test func repeatedTokensBecomeLessLikely() {
        #expect(scores([2, -2, 1], [0, 1, 1], settings { $0.repetitionPenalty = 2 }) == [1, -4, 1])
    }

    @Test func nothingIsRepeatedThatMayNotBe() {
        #expect(repeatedNgrams([5, 6, 7, 5, 6], 3) == [7])
        #expect(repeatedNgrams([5, 6], 3).isEmpty && repeatedNgrams([5, 6], 0).isEmpty)
        #expect(badWordTokens([1, 2], [[2, 9], [3, 8], [7], [0]], stops: [0]) == [9, 7])
    }

    @Test func stopTokensAreForbiddenUntilAnAnswerIsLongEnough() {
        #expect(scores([3, 1], [4], settings { $0.minNewTokens = 1 })[0] == -.infinity)
        #expect(scores([3, 1], [4, 1], answer: 1, settings { $0.minNewTokens = 1 })[0] == 3)
        #expect(scores([3, 1], [4], settings { $0.minLength = 2 })[0] == -.infinity)
    }

    @Test func theLastTokenMayBeForced() {
        let forced = settings { $0.forcedStopTokenIds = [1, 99] }
        #expect(scores([3, 1, 2], [4], answer: 8, forced) == [-.infinity, 0, -.infinity])
        #expect(scores([3, 1, 2], [4], answer: 7, forced) == [3, 1, 2])
    }

    @Test func theLowestIdWinsAmongEquals() throws {
        var chooser = TokenChooser(settings { $0.suppressTokenIds = [1] }, sequence: [0], limit: 9)
        #expect(try chooser.choose([0.1, 2, 1, 1]) == 2)
        #expect(throws: EngineError.self) { try chooser.choose([.nan, 0]) }
    }

    @Test func candidatesAreThoseOfPython() throws {
        let logits = [0.2, 0.5, 0.3].map { Float(log($0)) }
        let likely = try samplingCandidates(logits, settings { $0.topP = 0.6 })
        #expect(likely.map(\.id) == [1, 2])
        #expect(likely.map { ($0.probability * 1000).rounded() } == [625, 375])
        #expect(try samplingCandidates(logits, settings { $0.topK = 1 }).map(\.id) == [1])
        #expect(try samplingCandidates(logits, settings { $0.minP = 0.5 }).map(\.id) == [1, 2])
    }
}
#endif
