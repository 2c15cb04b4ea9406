import Foundation
import Testing

@testable import VLMPrune

struct CompiledModelsTests {
    @Test func aPackageIsCompiledOnceForEachBuildOfTheSystem() async throws {
        try await withScratch { scratch in
            let bundle = try packagedBundle(in: scratch)
            let root = scratch.appending(path: "compiled")
            var compiled = 0
            func model(_ system: String) async throws -> URL {
                try await CompiledModels(root, system: system).model(of: "tail.mlpackage", in: bundle) { package in
                    compiled += 1
                    #expect(package == bundle.folder.appending(path: "tail.mlpackage"))
                    let made = scratch.appending(path: "made-\(compiled)")
                    try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true)
                    return made
                }
            }
            let first = try await model("18.1 (22B83)")
            #expect(try await model("18.1 (22B83)") == first)
            #expect(compiled == 1 && first.pathExtension == "mlmodelc")
            let second = try await model("18.2 (22C152)")
            #expect(compiled == 2 && second != first)
            #expect(FileManager.default.fileExists(atPath: second.path))
            #expect(!FileManager.default.fileExists(atPath: first.path))
        }
    }

    @Test func aModelGoesWithTheLastBundleThatHasItsPackage() async throws {
        try await withScratch { scratch in
            let bundle = try packagedBundle(in: scratch)
            let models = CompiledModels(scratch.appending(path: "compiled"))
            let model = try await models.model(of: "tail.mlpackage", in: bundle) { _ in
                let made = scratch.appending(path: "made")
                try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true)
                return made
            }
            try models.keepOnly([bundle.manifest])
            #expect(FileManager.default.fileExists(atPath: model.path))
            try models.keepOnly([])
            #expect(!FileManager.default.fileExists(atPath: model.path))
        }
    }

    @Test func whatCannotBeCompiledLeavesNothingBehind() async throws {
        try await withScratch { scratch in
            let bundle = try packagedBundle(in: scratch)
            let models = CompiledModels(scratch.appending(path: "compiled"))
            await #expect(throws: BadRequest("broken")) {
                try await models.model(of: "tail.mlpackage", in: bundle) { _ in throw BadRequest("broken") }
            }
            #expect(!FileManager.default.fileExists(atPath: scratch.appending(path: "compiled").path))
        }
    }

    @Test func aPackageHasAHashOfItsOwnFilesOnly() async throws {
        try await withScratch { scratch in
            let manifest = try packagedBundle(in: scratch).manifest
            #expect(manifest.packages == ["tail.mlpackage"])
            #expect(manifest.packageSha256("tail.mlpackage") != manifest.packageSha256("head.mlpackage"))
        }
    }

    @Test func aRecordSaysWhereEachStageRuns() throws {
        let manifest = try Bundle.open(golden.appending(path: "bundle")).manifest
        #expect(manifest.computeUnits(requested: nil) == "ALL")
        #expect(manifest.computeUnits(requested: .cpuOnly) == "CPU_ONLY")
    }

    @Test func adviceThatDiffersIsSaidStageByStage() async throws {
        try await withScratch { scratch in
            let bundle = try packagedBundle(in: scratch)
            let units = bundle.manifest.computeUnits(requested: nil)
            #expect(units == "embed ALL, vision ALL, head ALL, prune ALL, tail CPU_AND_NE")
            #expect(bundle.manifest.computeUnits(requested: .all) == "ALL")
        }
    }

    /// Returns the golden bundle with the tail stage in a package of two files, for which it advises compute units.
    private func packagedBundle(in scratch: URL) throws -> VLMPrune.Bundle {
        let folder = try copyBundle("bundle", into: scratch)
        let package = folder.appending(path: "tail.mlpackage")
        try FileManager.default.createDirectory(at: package, withIntermediateDirectories: true)
        let files = [("Manifest.json", "{}"), ("weights.bin", "weights")]
        for (name, text) in files { try Data(text.utf8).write(to: package.appending(path: name)) }
        let names = files.map { JSONValue.text("tail.mlpackage/\($0.0)") }
        var graph = JSONObject()
        _ = graph.add("file", .text("tail.mlpackage"))
        let changes: [([String], JSONValue)] = [
            (["stages", "tail", "graphs"], .list([.object(graph)])), (["stages", "tail", "data"], .list(names)),
            (["stages", "tail", "compute_units"], .text("CPU_AND_NE")),
        ]
        let path = folder.appending(path: "bundle.json")
        var manifest = try json(path)
        for (place, value) in changes { manifest = manifest.changed(at: place.map(JSONValue.text), to: value) }
        for (name, text) in files {
            var entry = JSONObject()
            _ = entry.add("size_bytes", .integer(text.utf8.count))
            _ = entry.add("sha256", .text(sha256(Array(text.utf8))))
            manifest = manifest.changed(
                at: [.text("files"), .text("tail.mlpackage/\(name)")], to: .object(entry))
        }
        try Data(manifest.encoded.utf8).write(to: path)
        return try Bundle.open(folder)
    }
}
