import Foundation
import Testing

@testable import DemoModel

@MainActor
struct BundleTests {
    @Test func aCopyIsWholeListedAndOpened() async throws {
        let documents = try scratchFolder()
        let answering = FakeAnswering(documents.appending(path: "bundles/bundle"))
        let model = DemoModel(documents: documents, opener: FakeOpening(answering: answering), device: FakeDevice())
        model.importBundle(golden.appending(path: "bundle"))
        await model.finish()
        await model.finish()
        #expect(model.entries.map(\.name) == ["bundle"])
        #expect(
            (model.entries[0].target, model.entries[0].problem, model.state, model.copying) == (
                "onnx", nil, .ready, nil
            ))
        #expect(model.library.lastUsed == "bundle")
        let names = try FileManager.default.contentsOfDirectory(
            atPath: documents.appending(path: "bundles/bundle").path)
        #expect(
            try names.sorted()
                == FileManager.default.contentsOfDirectory(atPath: golden.appending(path: "bundle").path).sorted())
        model.delete(model.entries[0])
        await model.finish()
        #expect((model.entries, model.state, answering.isClosed) == ([], .noBundle, true))
    }

    @Test func aCopyThatWasBrokenOffGoesOn() throws {
        let library = BundleLibrary(documents: try scratchFolder())
        let partial = library.folder.appending(path: "bundle.partial")
        try FileManager.default.createDirectory(at: partial, withIntermediateDirectories: true)
        let kept = partial.appending(path: "bundle.json")
        try FileManager.default.copyItem(at: golden.appending(path: "bundle/bundle.json"), to: kept)
        let before = try FileManager.default.attributesOfItem(atPath: kept.path)[.systemFileNumber] as? NSNumber
        let whole = try library.copy(from: golden.appending(path: "bundle")) { _ in }
        let after = try FileManager.default.attributesOfItem(atPath: whole.appending(path: "bundle.json").path)
        #expect(after[.systemFileNumber] as? NSNumber == before)
        #expect(library.entries().map(\.name) == ["bundle"])
    }

    @Test func aFolderWithoutABundleIsRefused() throws {
        let library = BundleLibrary(documents: try scratchFolder())
        #expect(throws: Problem(.noBundleInFolder, "golden")) { try library.copy(from: golden) { _ in } }
    }

    @Test func aBrokenManifestIsListedWithWhatIsWrong() throws {
        let library = BundleLibrary(documents: try scratchFolder())
        let place = library.folder.appending(path: "broken")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        try "{".write(to: place.appending(path: "bundle.json"), atomically: true, encoding: .utf8)
        #expect(library.entries().map(\.problem?.kind) == [.corruptBundle])
    }

    @Test func aZipIsUnpackedWithoutItsOnlyFolder() throws {
        let library = BundleLibrary(documents: try scratchFolder())
        let archive = try zip([
            "pocket/bundle.json": Data("{}".utf8), "pocket/parts/a.bin": Data(repeating: 7, count: 70_000),
        ])
        let whole = try library.unpack(archive) { _ in }
        #expect(whole.lastPathComponent == "pocket")
        #expect(try Data(contentsOf: whole.appending(path: "parts/a.bin")) == Data(repeating: 7, count: 70_000))
    }

    @Test func aZipThatLeadsOutsideIsRefused() throws {
        let library = BundleLibrary(documents: try scratchFolder())
        let archive = try zip(["bundle.json": Data("{}".utf8), "../outside": Data("x".utf8)])
        #expect(throws: Problem(.corruptBundle, "../outside")) { try library.unpack(archive) { _ in } }
        #expect(!FileManager.default.fileExists(atPath: library.folder.appending(path: "outside").path))
    }

    @Test func whatIsNoZipIsRefused() throws {
        let library = BundleLibrary(documents: try scratchFolder())
        let place = try scratchFolder().appending(path: "cut.zip")
        for bytes in [Data(), Data("PK".utf8), Data(repeating: 0, count: 100)] {
            try bytes.write(to: place)
            #expect(throws: Problem.self) { try library.unpack(place) { _ in } }
        }
    }

    /// A zip archive of stored files, in the order of their names.
    private func zip(_ files: [String: Data]) throws -> URL {
        var body = Data()
        var directory = Data()
        for (name, data) in files.sorted(by: { $0.key > $1.key }) {
            let offset = body.count
            let sizes = little(0, 4) + little(data.count, 4) + little(data.count, 4) + little(name.utf8.count, 2)
            body +=
                little(0x0403_4b50, 4) + little(20, 2) + little(0, 2) + little(0, 2) + little(0, 4) + sizes
                + little(0, 2)
            body += Data(name.utf8) + data
            directory +=
                little(0x0201_4b50, 4) + little(20, 2) + little(20, 2) + little(0, 2) + little(0, 2) + little(0, 4)
            directory +=
                sizes + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 4) + little(offset, 4)
            directory += Data(name.utf8)
        }
        let end = little(0x0605_4b50, 4) + little(0, 4) + little(files.count, 2) + little(files.count, 2)
        let place = try scratchFolder().appending(path: "pocket.zip")
        try (body + directory + end + little(directory.count, 4) + little(body.count, 4) + little(0, 2)).write(
            to: place)
        return place
    }

    private func little(_ value: Int, _ bytes: Int) -> Data {
        Data((0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) })
    }
}
