import DemoModel
import Foundation
import Testing
import VLMPrune

@testable import VLMPruneDemo

/// What a person reads is there in both languages, on the device too.
struct StringTests {
    @Test(arguments: Problem.Kind.allCases)
    func everyProblemHasASentence(kind: Problem.Kind) {
        #expect(Problem(kind, "detail").sentence.count > 20)
    }

    @Test(arguments: ["en", "de"])
    func bothLanguagesAreInTheApp(language: String) {
        #expect(Foundation.Bundle.main.localizations.contains(language))
    }

    @Test func theSamplePhotoCanBeDecoded() throws {
        let place = try #require(Foundation.Bundle.main.url(forResource: "sample", withExtension: "jpg"))
        let picture = try Picture(imageData: Data(contentsOf: place))
        #expect(picture.width > 0 && picture.height > 0)
    }
}
