import Foundation

/// The packages that were compiled for this device: one folder per build of the system, in it a model per package.
///
/// A model has the hash of its package in its name, so that bundles share it, and another package of the same name is
/// compiled anew. Another build of the system compiles in another way, so what an older one left is removed.
public struct CompiledModels: Sendable {
    private static let suffix = ".mlmodelc"

    private let root: URL
    private let folder: URL

    /// `system` names the build of the system.
    public init(_ root: URL, system: String = ProcessInfo.processInfo.operatingSystemVersionString) {
        self.root = root
        folder = root.appending(path: sha256(Array(system.utf8)))
    }

    /// Returns those of this app, which the system may delete when it is short of space.
    public static func inCaches() throws -> CompiledModels {
        let caches = try FileManager.default.url(
            for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        return CompiledModels(caches.appending(path: "VLMPrune"))
    }

    /// Returns the compiled form of a bundle's package; `compile` makes it, somewhere, if it is not there yet.
    public func model(
        of package: String, in bundle: Bundle, compile: (URL) async throws -> URL
    ) async throws -> URL {
        let place = place(of: package, in: bundle.manifest)
        if FileManager.default.fileExists(atPath: place.path) { return place }
        try removeOtherSystems()
        let compiled = try await compile(bundle.path(package))
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        do {
            try FileManager.default.moveItem(at: compiled, to: place)
        } catch {
            guard FileManager.default.fileExists(atPath: place.path) else { throw error }
            try FileManager.default.removeItem(at: compiled)  // another task was sooner
        }
        return place
    }

    /// Removes all models but those of these manifests' packages, and what other builds of the system left.
    public func keepOnly(_ manifests: [Manifest]) throws {
        try removeOtherSystems()
        let places = manifests.flatMap { manifest in manifest.packages.map { place(of: $0, in: manifest) } }
        let kept = Set(places.map(\.lastPathComponent))
        for name in try names(in: folder) where !kept.contains(name) {
            try FileManager.default.removeItem(at: folder.appending(path: name))
        }
    }

    private func removeOtherSystems() throws {
        for name in try names(in: root) where name != folder.lastPathComponent {
            try FileManager.default.removeItem(at: root.appending(path: name))
        }
    }

    private func place(of package: String, in manifest: Manifest) -> URL {
        folder.appending(path: manifest.packageSha256(package) + Self.suffix)
    }

    private func names(in folder: URL) throws -> [String] {
        guard FileManager.default.fileExists(atPath: folder.path) else { return [] }
        return try FileManager.default.contentsOfDirectory(atPath: folder.path)
    }
}

extension Manifest {
    /// The Core ML packages of all stages.
    var packages: Set<String> { Set(stages.values.flatMap(\.graphs).map(\.file).filter(isPackage)) }

    /// Returns a hash that stands for all files of a package.
    func packageSha256(_ package: String) -> String {
        let inside = files.filter { $0.name.hasPrefix(package + "/") }.sorted { $0.name < $1.name }
        let lines = inside.map { "\($0.sha256) \($0.name.dropFirst(package.count))\n" }
        return sha256(Array(lines.joined().utf8))
    }
}
