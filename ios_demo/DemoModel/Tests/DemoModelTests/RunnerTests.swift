#if os(Linux)
import Foundation
import PictureFiles
import Testing
import VLMPrune
import VLMPruneOnnx

@testable import DemoModel

/// The model of the app on a real bundle and a real engine: what it shows is what Python answered.
@MainActor
struct RunnerTests {
    struct GoldenAnswer: Decodable {
        struct Kept: Decodable {
            let kept: [Int]
            let rank: [Int]
        }

        let prompt: String
        let prune: Bool
        let text: String
        let pruned: [Kept]
    }

    func model(availableBytes: Int? = nil) throws -> DemoModel {
        let opener = RunnerOpening(
            decoder: { try decodePNG([UInt8]($0)).upright() }, targets: [.onnx], availableBytes: { availableBytes },
            makeEngine: { bundle, progress in
                progress(.loading(stage: "vision", nth: 0, stages: 5))
                return try OnnxEngine(bundle, threads: 1)
            })
        return DemoModel(documents: try scratchFolder(), opener: opener, device: FakeDevice())
    }

    func opened() async throws -> DemoModel {
        let model = try model()
        model.open(golden.appending(path: "bundle"))
        await model.finish()
        try #require(model.state == .ready)
        model.add([Photo(name: "image.png", bytes: try Data(contentsOf: golden.appending(path: "image.png")))])
        return model
    }

    @Test func answersAndKeptTokensAreThoseOfPython() async throws {
        let answers = try JSONDecoder().decode(
            [GoldenAnswer].self, from: Data(contentsOf: golden.appending(path: "answers.json")))
        let model = try await opened()
        let asked = answers.filter { !$0.prompt.isEmpty && $0.prompt == $0.prompt.trimmingCharacters(in: .whitespaces) }
        #expect(asked.count >= 2)
        for expected in asked {
            model.newConversation()
            model.mode = expected.prune ? .pruned : .unpruned
            model.question = expected.prompt
            model.ask()
            await model.finish()
            let answer = try #require(model.turns.last?.answers.last)
            #expect(answer.text.hasPrefix(expected.text), "\(answer.phase)")
            #expect(model.kept.map(\.patches.count) == expected.pruned.map(\.kept.count))
            #expect(model.kept.allSatisfy { $0.patches.allSatisfy { $0.left < $0.right && $0.top < $0.bottom } })
        }
    }

    @Test func aFurtherQuestionAndABenchmarkRun() async throws {
        let model = try await opened()
        for question in ["why?", "and then?"] {
            model.question = question
            model.ask()
            await model.finish()
        }
        #expect(model.turns.map(\.answers[0].phase).allSatisfy { if case .done = $0 { true } else { false } })
        model.pairs = 1
        model.startBenchmark()
        await model.finish()
        let report = try #require(model.shown, "\(String(describing: model.problem))")
        #expect(report.rows.map(\.stage).suffix(3) == ["llm_prefill", "first_token", "decode"])
        #expect(report.bundle == model.bundle?.name)
        let record = try BenchmarkRecord(json: report.json)
        #expect(record.settings.image.sha256?.count == 64)
        #expect((record.device.battery?.levelBeforeFraction, record.device.battery?.charging) == (0.9, false))
    }

    @Test func aBundleForAnotherTargetOrTooLargeIsRefusedBeforeItIsLoaded() async throws {
        let model = try model(availableBytes: 1000)
        model.open(golden.appending(path: "bundle"))
        await model.finish()
        guard case .failed(let problem) = model.state else { throw Problem(.unreadableFile) }
        #expect(problem.kind == .lowMemory)
    }
}
#endif
