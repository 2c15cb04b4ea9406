#if canImport(VLMPruneOnnx)
import Foundation
import Testing
import VLMPruneOnnx

@testable import VLMPrune

/// A golden bundle and the folder of its files.
struct GoldenSet: Sendable {
    let bundle: String
    let folder: String

    static let all = [
        GoldenSet(bundle: "bundle", folder: ""), GoldenSet(bundle: "bundle_two_pictures", folder: "two_pictures/"),
    ]

    func rows(_ name: String) throws -> [JSONValue] { try goldenRows(folder + name) }

    func pictures(_ names: [String]) throws -> [Picture] { try names.map { try goldenPicture(folder + $0) } }

    func runner() throws -> Runner {
        let bundle = try Bundle.open(golden.appending(path: bundle))
        return try Runner(bundle, engine: OnnxEngine(bundle, threads: 1))
    }
}

/// Golden conversations about a bundle, or about a variant of it whose files lie in a folder beside them.
struct Told: Sendable, CustomTestStringConvertible {
    let base: String
    let folder: String
    var variant: String?

    static let all = [
        Told(base: "bundle_two_pictures", folder: "two_pictures"),
        Told(base: "bundle_two_pictures", folder: "two_pictures", variant: "counted"),
        Told(base: "bundle_tiles", folder: "tiles"), Told(base: "bundle_tiles", folder: "tiles", variant: "together"),
        Told(base: "bundle_grids", folder: "grids"), Told(base: "bundle_grids", folder: "grids", variant: "smaller"),
    ]

    var testDescription: String { folder + "/" + (variant ?? "") }

    var file: String { "\(folder)/\(variant.map { $0 + "_" } ?? "")conversations.json" }

    /// Returns the bundle's folder; a variant is put together in a scratch folder.
    func bundle(in scratch: URL) throws -> URL {
        guard let variant else { return golden.appending(path: base) }
        let copy = try copyBundle(base, into: scratch)
        let changed = golden.appending(path: folder).appending(path: variant)
        for name in try FileManager.default.contentsOfDirectory(atPath: changed.path) {
            try? FileManager.default.removeItem(at: copy.appending(path: name))
            try FileManager.default.copyItem(at: changed.appending(path: name), to: copy.appending(path: name))
        }
        return copy
    }
}

private let furtherCases = ProcessInfo.processInfo.environment["VLMPRUNE_CASES"]

struct AnswerTests {
    @Test(arguments: GoldenSet.all)
    func promptsHaveTheIdsOfPython(set: GoldenSet) throws {
        let runner = try set.runner()
        let manifest = runner.bundle.manifest
        for row in try set.rows("prompts.json") {
            let spans = row["spans"]?.items.map(\.ints) ?? []
            let encoded = try runner.encode(row["prompt"]?.string ?? "", spans.map { _ in PicturePlace() })
            #expect(encoded.tokenIds == row["token_ids"]?.ints)
            #expect(encoded.spans.map { [$0.start, $0.stop] } == spans)
            guard let positions = row["positions"] else { continue }
            let tokens = try Tokens(manifest, encoded, from: 0)
            #expect(tokens.positions == positions.items.map(\.ints))
            #expect(tokens.nextPosition == row["next_position"]?.int)
        }
    }

    @Test(arguments: GoldenSet.all)
    func answersAreThoseOfPythonPrunedAndUnpruned(set: GoldenSet) async throws {
        let runner = try set.runner()
        let rows = try set.rows("answers.json")
        #expect(rows.count >= 4)
        for row in rows {
            let names = row["images"]?.items.compactMap(\.string) ?? ["image.png"]
            var events: [RunEvent] = []
            for try await event in runner.stream(request(row, try set.pictures(names))) { events.append(event) }
            let result = try #require(
                events.compactMap { if case .finished(let result) = $0 { result } else { nil } }.first)
            expectSame(result, row)
            let text = events.compactMap { if case .text(let text) = $0 { text } else { nil } }.joined()
            #expect(text.equals(exactly: result.text))
        }
    }

    @Test(arguments: Told.all)
    func conversationsAreThoseOfPython(told: Told) async throws {
        try await withScratch { scratch in
            let bundle = try Bundle.open(told.bundle(in: scratch))
            let runner = try Runner(bundle, engine: OnnxEngine(bundle, threads: 1))
            let rows = try goldenRows(told.file)
            #expect(rows.count >= 2)
            for row in rows { try await compare(runner, row, golden.appending(path: told.folder)) }
        }
    }

    /// Compares with answers of Python about bundles that `tests/runtime/write_cases.py` was given, of any size.
    /// `VLMPRUNE_CASES` names its file.
    @Test(.enabled(if: furtherCases != nil))
    func answersAboutFurtherBundlesAreThoseOfPython() async throws {
        let file = URL(fileURLWithPath: try #require(furtherCases))
        for row in try json(file).items {
            let bundle = try Bundle.open(URL(fileURLWithPath: row["bundle"]?.string ?? ""), verify: false)
            let runner = try Runner(bundle, engine: OnnxEngine(bundle, threads: 1))
            try await compare(runner, row, file.deletingLastPathComponent())
        }
    }

    /// Asks the questions of a conversation about pictures in a folder, and compares every answer.
    private func compare(_ runner: Runner, _ row: JSONValue, _ folder: URL) async throws {
        for (nth, turn) in (row["turns"]?.items ?? []).enumerated() {
            let pictures = try (turn["images"]?.items ?? []).compactMap(\.string).map { name in
                try decodedPNG([UInt8](Data(contentsOf: folder.appending(path: name))))
            }
            let prompt = turn["prompt"]?.string ?? ""
            var first = request(row, pictures)
            first.prompt = prompt
            let result = try await lastResult(
                of: nth == 0 ? runner.stream(first) : runner.followUp(prompt, pictures: pictures))
            expectSame(result, turn)
            #expect(result.promptTokens == turn["prompt_tokens"]?.int)
            #expect(result.prefilledTokens == turn["prefilled_tokens"]?.int)
            #expect(result.pruned.map(\.view) == (turn["pruned"]?.items ?? []).map { $0["view"]?.int ?? 0 })
            guard let expected = turn["seen"]?.items.map({ $0.items.map(\.int) }) else { continue }
            let seen = result.seen.map { [$0.picture, $0.grid.height, $0.grid.width, $0.tile?.row, $0.tile?.column] }
            #expect(seen == expected)
        }
    }

    private func request(_ row: JSONValue, _ pictures: [Picture]) -> Request {
        Request(
            pictures: pictures, prompt: row["prompt"]?.string ?? "", prune: row["prune"]?.bool ?? true,
            maxTokens: row["max_tokens"]?.int, sampling: .greedy)
    }

    private func expectSame(_ result: RunResult, _ row: JSONValue) {
        #expect(result.tokenIds == row["token_ids"]?.ints)
        #expect(result.text.equals(exactly: row["text"]?.string ?? ""))
        #expect(result.reason.rawValue == row["reason"]?.string)
        let pruned = row["pruned"]?.items ?? []
        #expect(result.pruned.map(\.kept) == pruned.map { $0["kept"]?.ints ?? [] })
        #expect(result.pruned.map(\.rank) == pruned.map { $0["rank"]?.ints ?? [] })
        if let pictures = pruned.first?["image"] == nil ? nil : pruned.compactMap({ $0["image"]?.int }) {
            #expect(result.pruned.map(\.picture) == pictures)
        }
    }
}
#endif
