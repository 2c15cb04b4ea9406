import Foundation
import Testing

@testable import VLMPrune

struct TokenizerTests {
    @Test(arguments: ["clip", "llama2", "llama3", "metaspace", "qwen", "smollm", "with_prefix_space"])
    func idsAndTextsAreThoseOfTheTokenizersPackage(name: String) throws {
        let tokenizer = try Tokenizer(contentsOf: golden.appending(path: "tokenizers/\(name).json"))
        let rows = try goldenRows("tokenizers/\(name)_cases.json")
        #expect(rows.count > 10)
        for row in rows {
            let text = row["text"]?.string ?? ""
            #expect(tokenizer.encode(text, addSpecialTokens: false) == row["ids"]?.ints, "\(text)")
            #expect(tokenizer.encode(text, addSpecialTokens: true) == row["with_special"]?.ints, "\(text)")
            let decoded = tokenizer.decode(row["ids"]?.ints ?? [])
            #expect(decoded.equals(exactly: row["decoded"]?.string ?? ""), "\(text)")
        }
    }

    @Test func everyGoldenTokenizerIsTested() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: golden.appending(path: "tokenizers").path)
        #expect(files.filter { !$0.contains("_cases") && $0 != "texts.json" }.count == 7)
    }

    @Test(arguments: ["", "{}", "[]", #"{"model": {"type": "Unigram"}}"#, #"{"model": 3}"#])
    func whatIsNoTokenizerIsRefused(text: String) async throws {
        try await withScratch { scratch in
            let file = scratch.appending(path: "tokenizer.json")
            try Data(text.utf8).write(to: file)
            #expect(throws: BundleError.self) { try Tokenizer(contentsOf: file) }
        }
    }

    @Test func canonicallyEquivalentTokensAreDifferentOnes() async throws {
        let text =
            #"{"model": {"vocab": {"\u00c5": 0, "\u212b": 1, "A": 2, "\u030a": 3, "A\u030a": 4}, "merges": [["A", "\u030a"]]}}"#
        try await withScratch { scratch in
            let file = scratch.appending(path: "tokenizer.json")
            try Data(text.utf8).write(to: file)
            let tokenizer = try Tokenizer(contentsOf: file)
            #expect(tokenizer.encode("\u{C5}\u{212B}A\u{30A}", addSpecialTokens: false) == [0, 1, 4])
        }
    }
}
