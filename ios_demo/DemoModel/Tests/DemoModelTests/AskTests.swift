import Foundation
import Testing

@testable import DemoModel

@MainActor
struct AskTests {
    let answering = FakeAnswering(URL(filePath: "/bundles/pocket"))
    let photo = Photo(name: "a.jpg", bytes: Data([1]))

    func ready() async throws -> DemoModel {
        let model = DemoModel(
            documents: try scratchFolder(), opener: FakeOpening(answering: answering), device: FakeDevice())
        model.open(URL(filePath: "/bundles/pocket"))
        await model.finish()
        #expect(model.state == .ready)
        return model
    }

    @Test func anAnswerIsStreamedMeasuredAndItsTokensAreShown() async throws {
        let model = try await ready()
        model.add([photo])
        model.question = "  What is it?\n"
        model.ask()
        await model.finish()
        let answer = try #require(model.turns.first?.answers.first)
        #expect((answer.text, answer.phase, answer.measured?.peakBytes) == ("a dog", .done(isCut: false), 123))
        #expect((model.turns.first?.question, model.question, model.state) == ("What is it?", "", .ready))
        #expect((model.kept, model.keptCount, model.shownKept) == ([sampleView], 2, 2))
    }

    @Test func bothModesRunUnprunedFirstAndTheDifferenceIsSaid() async throws {
        let model = try await ready()
        model.add([photo])
        model.mode = .both
        model.question = "What?"
        model.ask()
        await model.finish()
        #expect(answering.asked == ["What?, 1 photos, unpruned", "What?, 1 photos, pruned"])
        #expect(model.turns.first?.savedSeconds == 0.3)
    }

    @Test func aFurtherQuestionGoesOnWithTheCachesUntilThePhotosChange() async throws {
        let model = try await ready()
        model.add([photo])
        for question in ["What?", "And where?"] {
            model.question = question
            model.ask()
            await model.finish()
        }
        #expect(answering.asked.last == "And where?, further")
        model.add([Photo(name: "b.jpg", bytes: Data([2]))])
        #expect((model.turns.count, model.kept.count, model.shownPhoto) == (0, 0, 1))
        model.question = "What differs?"
        model.ask()
        await model.finish()
        #expect(answering.asked.last == "What differs?, 2 photos, pruned")
    }

    @Test func whatIsStoppedKeepsWhatWasSaid() async throws {
        let model = try await ready()
        model.add([photo])
        answering.endless = true
        model.mode = .both
        model.question = "What?"
        model.ask()
        while model.state != .answering(stage: "tail", pruned: false) { try await Task.sleep(for: .milliseconds(2)) }
        model.stop()
        await model.finish()
        let answers = try #require(model.turns.first?.answers)
        #expect(answers.map(\.phase) == [.stopped, .stopped])
        #expect((answers[0].text, answers[1].text, model.state) == ("a dog", "", .ready))
    }

    @Test func aFailureIsSaidAtTheAnswerAndTheNextQuestionWorks() async throws {
        let model = try await ready()
        model.add([photo])
        answering.failure = Problem(.engineFailed, "out of range")
        model.question = "What?"
        model.ask()
        await model.finish()
        #expect(model.turns[0].answers[0].phase == .failed(Problem(.engineFailed, "out of range")))
        answering.failure = nil
        model.question = "What?"
        model.ask()
        await model.finish()
        #expect(model.turns[1].answers[0].phase == .done(isCut: false))
    }

    @Test func nothingIsAskedWithoutAPhotoAQuestionOrABundle() async throws {
        let model = try await ready()
        model.question = "What?"
        #expect(!model.canAsk)
        model.add([photo])
        #expect(model.canAsk)
        model.question = " \n"
        #expect(!model.canAsk)
        model.remove(photo)
        #expect((model.photos, model.shownPhoto) == ([], 0))
        let empty = DemoModel(
            documents: try scratchFolder(), opener: FakeOpening(answering: answering), device: FakeDevice())
        empty.add([photo])
        empty.question = "What?"
        #expect(!empty.canAsk)
    }

    @Test func noMorePhotosAreOfferedThanABundleHasRoomFor() async throws {
        let model = try await ready()
        #expect(model.mostNewPhotos == 3)
        model.add([photo, Photo(name: "b.jpg", bytes: Data([2]))])
        #expect(model.mostNewPhotos == 1)
    }

    @Test func aBundleThatCannotBeOpenedSaysWhy() async throws {
        let problem = Problem(.lowMemory, "2 GB / 1 GB")
        let opener = FakeOpening(answering: answering, failure: problem)
        let model = DemoModel(documents: try scratchFolder(), opener: opener, device: FakeDevice())
        model.open(URL(filePath: "/bundles/large"))
        await model.finish()
        #expect((model.state, model.bundle) == (.failed(problem), nil))
    }

    @Test func whenMemoryIsShortTheBundleIsGivenBack() async throws {
        let model = try await ready()
        model.memoryIsShort()
        await model.finish()
        #expect(answering.isClosed)
        #expect((model.state, model.problem?.kind) == (.noBundle, .lowMemory))
    }
}
