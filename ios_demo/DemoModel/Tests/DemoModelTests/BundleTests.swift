import Foundation
import Testing
import VLMPrune

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

    @Test func whatWasCompiledGoesWithItsBundle() async throws {
        let documents = try scratchFolder()
        let compiled = CompiledModels(documents.appending(path: "compiled"))
        let library = BundleLibrary(documents: documents, compiled: compiled)
        let place = try library.copy(from: try bundleWithAPackage()) { _ in }
        let model = try await compiled.model(of: "tail.mlpackage", in: .open(place, verify: false)) { @Sendable _ in
            let made = documents.appending(path: "made")
            try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true)
            return made
        }
        try library.removeUnusedModels()
        #expect(FileManager.default.fileExists(atPath: model.path))
        try library.delete(place)
        #expect(!FileManager.default.fileExists(atPath: model.path))
    }

    /// Returns a copy of the golden bundle whose tail stage is a package.
    private func bundleWithAPackage() throws -> URL {
        let folder = try scratchFolder().appending(path: "packaged")
        try FileManager.default.copyItem(at: golden.appending(path: "bundle"), to: folder)
        let package = folder.appending(path: "tail.mlpackage")
        try FileManager.default.createDirectory(at: package, withIntermediateDirectories: true)
        try Data("{}".utf8).write(to: package.appending(path: "Manifest.json"))
        let text = try String(contentsOf: folder.appending(path: "bundle.json"), encoding: .utf8)
        let entry = #"{"size_bytes": 2, "sha256": "\#(String(repeating: "0", count: 64))"}"#
        let manifest = #""tail.mlpackage/Manifest.json""#
        let between = "\n    }\n   ],\n   \"data\": "
        let files = text.replacing(#""tail.onnx": {"#, with: #"\#(manifest): \#(entry), "tail.onnx": {"#)
        let changed = files.replacing(
            #""file": "tail.onnx"\#(between)[]"#, with: #""file": "tail.mlpackage"\#(between)[\#(manifest)]"#)
        try changed.write(to: folder.appending(path: "bundle.json"), atomically: true, encoding: .utf8)
        return folder
    }

    @Test(arguments: ["deflated", "stored"])
    func aZipOfPythonIsUnpackedWithoutItsOnlyFolder(name: String) throws {
        let library = BundleLibrary(documents: try scratchFolder())
        var copied: [Copying] = []
        let whole = try library.unpack(zipped(name)) { copied.append($0) }
        #expect(whole.lastPathComponent == "pocket")
        let manifest = try String(contentsOf: whole.appending(path: "bundle.json"), encoding: .utf8)
        #expect(manifest == #"{"name": "pocket"}"#)
        let weights = try Data(contentsOf: whole.appending(path: "tail.mlpackage/weights.bin"))
        #expect(weights.count == (name == "stored" ? 3000 : 79_800))
        #expect(weights.dropFirst(3000).enumerated().allSatisfy { $0.element == UInt8($0.offset % 256) })
        #expect(copied.last.map { $0.doneBytes == $0.totalBytes } == true)
    }

    @Test(arguments: [
        ("outside", Problem.Kind.corruptBundle), ("absolute", .corruptBundle), ("backslash", .corruptBundle),
        ("wrong_crc", .unreadableFile), ("larger_than_it_says", .unreadableFile),
        ("smaller_than_it_says", .unreadableFile), ("impossible_size", .unreadableFile), ("truncated", .unreadableFile),
        ("without_its_middle", .unreadableFile),
    ])
    func aHostileZipIsRefusedAndLeavesNothing(name: String, kind: Problem.Kind) throws {
        let documents = try scratchFolder()
        let library = BundleLibrary(documents: documents)
        for _ in 0..<2 {
            do {
                _ = try library.unpack(zipped(name)) { _ in }
                Issue.record("it was unpacked")
            } catch let problem as Problem {
                #expect(problem.kind == kind && !problem.detail.contains("\n"), "\(problem)")
            }
        }
        #expect(library.entries().isEmpty)
        let left = try FileManager.default.subpathsOfDirectory(atPath: documents.path)
        #expect(!left.contains { $0.hasSuffix("outside") || $0.hasSuffix("weights.bin") })
        #expect(!FileManager.default.fileExists(atPath: "/tmp/outside"))
    }

    @Test func aZipThatBecomesMuchLargerIsUnpackedOnlyWhereThereIsRoom() throws {
        let archive = try ZipArchive(zipped("bomb"))
        let zeros = try #require(archive.entries.last)
        #expect(zeros.bytes > 500 * zeros.packedBytes)
        let target = try scratchFolder().appending(path: "zeros.bin")
        try archive.extract(zeros, to: target)
        #expect(try Data(contentsOf: target).count == zeros.bytes)
    }

    @Test func whatIsNoZipIsRefused() throws {
        let library = BundleLibrary(documents: try scratchFolder())
        let place = try scratchFolder().appending(path: "cut.zip")
        let end = Data([0x50, 0x4B, 5, 6] + [UInt8](repeating: 0xFF, count: 18))
        for bytes in [Data(), Data("PK".utf8), Data(repeating: 0, count: 100), end] {
            try bytes.write(to: place)
            #expect(throws: Problem.self) { try library.unpack(place) { _ in } }
        }
    }

    @Test func theChecksumIsThatOfZip() {
        var crc = Crc32()
        crc.add(Data("123456789".utf8))
        #expect(crc.value == 0xCBF4_3926)
    }

    private func zipped(_ name: String) -> URL { golden.appending(path: "zips/\(name).zip") }
}
