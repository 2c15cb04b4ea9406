import COnnxRuntime
import Foundation
import VLMPrune

/// onnxruntime's shared library, loaded once per process; its functions may be called from any thread.
final class OnnxLibrary: @unchecked Sendable {
    let runtime: OpaquePointer
    var version: String { String(cString: vp_version(runtime)) }

    /// Loads a library. All engines of the process share its threads, so the first one says how many there are.
    init(_ path: String, threads: Int) throws {
        var opened: OpaquePointer?
        try check(vp_open(path, Int32(threads), &opened), "all")
        guard let opened else { throw EngineError(stage: "all", "onnxruntime gave nothing") }
        runtime = opened
    }

    /// Returns where the library lies: as the environment says, or in a virtual environment of Python nearby.
    static func find() throws -> String {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["VLMPRUNE_ONNXRUNTIME"] { return path }
        var roots = ["VIRTUAL_ENV"].compactMap { environment[$0] }
        var folder = URL(fileURLWithPath: FileManager.default.currentDirectoryPath)
        while folder.path != "/" {
            roots.append(folder.appending(path: ".venv").path)
            folder.deleteLastPathComponent()
        }
        for root in roots {
            if let path = library(below: root) { return path }
        }
        throw BadRequest(
            "no onnxruntime was found; set VLMPRUNE_ONNXRUNTIME to libonnxruntime.so, which pip install onnxruntime brings"
        )
    }

    private static func library(below root: String) -> String? {
        let manager = FileManager.default
        let versions = (try? manager.contentsOfDirectory(atPath: "\(root)/lib")) ?? []
        for version in versions.sorted() {
            let folder = "\(root)/lib/\(version)/site-packages/onnxruntime/capi"
            let names = ((try? manager.contentsOfDirectory(atPath: folder)) ?? []).sorted()
            if let name = names.first(where: { $0.hasPrefix("libonnxruntime.so") }) { return "\(folder)/\(name)" }
        }
        return nil
    }
}

/// Throws `EngineError` for a message of the library, and frees it.
func check(_ message: UnsafeMutablePointer<CChar>?, _ stage: String) throws {
    guard let message else { return }
    defer { free(message) }
    throw EngineError(stage: stage, String(cString: message))
}
