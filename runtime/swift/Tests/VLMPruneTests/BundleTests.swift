import Foundation
import Testing

@testable import VLMPrune

struct BundleTests {
    @Test func goldenBundlesOpenAndSayWhatTheyAre() throws {
        let bundle = try Bundle.open(golden.appending(path: "bundle"))
        #expect(bundle.manifest.prefill == ["embed", "vision", "head", "prune", "tail"])
        #expect(bundle.manifest.grids.map(\.keep) == [[4]])
        let two = try Bundle.open(golden.appending(path: "bundle_two_pictures"))
        #expect(two.manifest.positions.axes == 3)
        #expect(two.manifest.cuts.map(\.at) == [.input])
    }

    @Test func progressRisesToTheWhole() throws {
        var seen: [Double] = []
        _ = try Bundle.open(golden.appending(path: "bundle")) { seen.append($0) }
        #expect(seen.last == 1)
        #expect(seen == seen.sorted())
    }

    @Test(arguments: try goldenRows("bundle_errors.json").map(\.encoded))
    func aChangedManifestIsRefusedAtTheSamePlaceAsInPython(row: String) async throws {
        let change = try parseJSON(Array(row.utf8), file: "bundle_errors.json")
        try await withScratch { scratch in
            let folder = try changedBundle(in: scratch, [change])
            let error = try refusal { _ = try Bundle.open(folder) }
            #expect(error.file == change["file"]?.string)
            #expect(error.field == change["field"]?.string, "\(error.message)")
        }
    }

    @Test(arguments: [
        "", "[]", "{", "{\"a\": 1, \"a\": 2}", String(repeating: "[", count: 9999),
        "{\"schema\": {\"major\": 2, \"minor\": 0}} x",
        "{\"schema\": {\"major\": NaN, \"minor\": 0}}", "{\"schema\": {\"major\": 02}}", "\"\\ud800\"",
    ])
    func whatIsNoManifestIsRefusedInOneLine(text: String) async throws {
        try await withScratch { scratch in
            let folder = try copyBundle("bundle", into: scratch)
            try Data(text.utf8).write(to: folder.appending(path: "bundle.json"))
            let error = try refusal { _ = try Bundle.open(folder) }
            let message = error.message
            #expect(!message.contains("\n") && message.count < 1000 && error.file == "bundle.json")
        }
    }

    @Test func fieldsOfANewerMinorVersionAreIgnored() async throws {
        let minor = JSONValue.list([.text("schema"), .text("minor")])
        let changes = [
            object(["path": minor, "value": .integer(99)]),
            object(["path": .list([.text("colour")]), "value": .text("red")]),
        ]
        try await withScratch { scratch in
            let bundle = try Bundle.open(changedBundle(in: scratch, changes))
            #expect(bundle.manifest.name == "handmade")
        }
    }

    @Test func aNullIsNoValueOfAFieldThatHasADefault() async throws {
        let change = object(["path": .list([.text("positions")]), "value": .null])
        try await withScratch { scratch in
            let folder = try changedBundle(in: scratch, [change])
            let error = try refusal { _ = try Bundle.open(folder) }
            #expect(error.field == "positions")
        }
    }

    @Test func aLinkThatLeadsOutOfTheFolderIsRefused() async throws {
        try await withScratch { scratch in
            let folder = try copyBundle("bundle", into: scratch)
            let (inside, outside) = (folder.appending(path: "tail.onnx"), scratch.appending(path: "tail.onnx"))
            try FileManager.default.moveItem(at: inside, to: outside)
            try FileManager.default.createSymbolicLink(at: inside, withDestinationURL: outside)
            let error = try refusal { _ = try Bundle.open(folder) }
            #expect(error.file == "tail.onnx")
        }
    }

    @Test func aSnapshotOfAHubCacheMayLinkIntoItsBlobs() async throws {
        try await withScratch { scratch in
            let (blobs, snapshots) = (scratch.appending(path: "blobs"), scratch.appending(path: "snapshots"))
            try FileManager.default.copyItem(at: golden.appending(path: "bundle"), to: blobs)
            let folder = snapshots.appending(path: "0123")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            for name in try FileManager.default.contentsOfDirectory(atPath: blobs.path) {
                let link = folder.appending(path: name)
                try FileManager.default.createSymbolicLink(at: link, withDestinationURL: blobs.appending(path: name))
            }
            let bundle = try Bundle.open(folder)
            #expect(bundle.manifest.name == "handmade")
        }
    }

    @Test func openingEndsWhenItsTaskIsCancelled() async throws {
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            return try Bundle.open(golden.appending(path: "bundle"))
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func hashesAreThoseOfFIPS180() {
        #expect(sha256(Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        let (million, whole) = (
            [UInt8](repeating: 97, count: 1000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        )
        var digest = Sha256()
        for _ in 0..<1000 { digest.update(million) }
        #expect(digest.hexDigits() == whole)
    }

    private func object(_ fields: [String: JSONValue]) -> JSONValue {
        var object = JSONObject()
        for (name, value) in fields { _ = object.add(name, value) }
        return .object(object)
    }

    private func changedBundle(in scratch: URL, _ changes: [JSONValue]) throws -> URL {
        let folder = try copyBundle("bundle", into: scratch)
        let path = folder.appending(path: "bundle.json")
        let manifest = try changes.reduce(json(path)) { $0.changed(at: $1["path"]?.items ?? [], to: $1["value"]) }
        try Data(manifest.encoded.utf8).write(to: path)
        return folder
    }
}
