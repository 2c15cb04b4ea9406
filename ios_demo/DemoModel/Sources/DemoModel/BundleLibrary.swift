import Foundation
import VLMPrune

/// A bundle on the device; `problem` says why it cannot be opened.
public struct BundleEntry: Identifiable, Equatable, Sendable {
    public let folder: URL
    public let target: String
    public let quantisation: String
    public let method: String
    public let sizeBytes: Int
    public let peakMemoryBytes: Int
    public let problem: Problem?

    public var id: URL { folder }
    public var name: String { folder.lastPathComponent }
}

/// A copy that is on its way; what is there already is not copied again.
public struct Copying: Equatable, Sendable {
    public let name: String
    public let doneBytes: Int
    public let totalBytes: Int
}

/// The bundles that lie in the app's documents, where Files, a Mac and `vlmprune-device` can put them too.
public struct BundleLibrary: Sendable {
    static let partial = ".partial"
    /// What stays free on the device beside a copy.
    static let spareBytes = 64 << 20

    public let folder: URL
    private let lastUsedFile: URL
    private let compiled: CompiledModels?

    init(documents: URL, compiled: CompiledModels? = nil) {
        self.compiled = compiled
        folder = documents.appending(path: "bundles")
        lastUsedFile = folder.appending(path: ".last-used")
    }

    /// The name of the bundle that was opened last.
    public var lastUsed: String? {
        get { try? String(contentsOf: lastUsedFile, encoding: .utf8) }
        nonmutating set { try? newValue?.write(to: lastUsedFile, atomically: true, encoding: .utf8) }
    }

    /// Returns all bundles by name, from their manifests alone.
    public func entries() -> [BundleEntry] {
        let folders = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
        return folders.filter { isBundle($0) }.sorted { $0.lastPathComponent < $1.lastPathComponent }.map(entry)
    }

    private func isBundle(_ place: URL) -> Bool {
        let name = place.lastPathComponent
        guard !name.hasPrefix("."), !name.hasSuffix(Self.partial) else { return false }
        return FileManager.default.fileExists(atPath: place.appending(path: Manifest.fileName).path)
    }

    private func entry(_ place: URL) -> BundleEntry {
        do {
            let manifest = try VLMPrune.Bundle.readManifestOnly(in: place)
            return BundleEntry(
                folder: place, target: manifest.target.rawValue, quantisation: manifest.quantisation.rawValue,
                method: manifest.prunerMethod, sizeBytes: manifest.files.reduce(0) { $0 + $1.sizeBytes },
                peakMemoryBytes: manifest.memory.peakBytes, problem: nil)
        } catch {
            return BundleEntry(
                folder: place, target: "", quantisation: "", method: "", sizeBytes: 0, peakMemoryBytes: 0,
                problem: Problem(error))
        }
    }

    /// Removes a bundle, and what was compiled of it.
    public func delete(_ place: URL) throws {
        try FileManager.default.removeItem(at: place)
        try removeUnusedModels()
    }

    /// Removes what was compiled of bundles that are no longer here, or by another build of the system.
    func removeUnusedModels() throws {
        let places = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
        try compiled?.keepOnly(places.filter(isBundle).compactMap { try? VLMPrune.Bundle.readManifestOnly(in: $0) })
    }

    /// Copies the bundle in a folder; it gets its name when it is whole.
    ///
    /// Throws `Problem` if there is no bundle, or no space; a copy that was broken off goes on where it stood.
    public func copy(from source: URL, report: (Copying) -> Void) throws -> URL {
        guard FileManager.default.fileExists(atPath: source.appending(path: Manifest.fileName).path) else {
            throw Problem(.noBundleInFolder, source.lastPathComponent)
        }
        let files = try relativeFiles(in: source)
        let name = safeName(source.lastPathComponent)
        let partial = folder.appending(path: name + Self.partial)
        let total = files.reduce(0) { $0 + $1.bytes }
        try checkSpace(total - size(of: partial))
        var done = 0
        for file in files {
            try Task.checkCancellation()
            let target = partial.appending(path: file.path)
            if fileBytes(target) != file.bytes { try replace(target, with: source.appending(path: file.path)) }
            done += file.bytes
            report(Copying(name: name, doneBytes: done, totalBytes: total))
        }
        return try publish(partial, as: name)
    }

    /// Unpacks a zipped bundle; its only folder, if it has one, is left out. Throws `Problem`.
    public func unpack(_ archive: URL, report: (Copying) -> Void) throws -> URL {
        let zip = try ZipArchive(archive)
        let manifests = zip.entries.filter {
            $0.path == Manifest.fileName || $0.path.hasSuffix("/" + Manifest.fileName)
        }
        guard let manifest = manifests.min(by: { $0.path.count < $1.path.count }) else {
            throw Problem(.noBundleInFolder, archive.lastPathComponent)
        }
        let prefix = String(manifest.path.dropLast(Manifest.fileName.count))
        let own = prefix.isEmpty ? archive.deletingPathExtension().lastPathComponent : String(prefix.dropLast())
        let name = safeName(own)
        let partial = folder.appending(path: name + Self.partial)
        let files = try zip.entries.filter { $0.path.hasPrefix(prefix) && !$0.path.hasSuffix("/") }.map { file in
            (file, try inside(partial, String(file.path.dropFirst(prefix.count))))
        }
        let total = files.reduce(0) { sum, file in
            let (larger, isTooLarge) = sum.addingReportingOverflow(file.0.bytes)
            return isTooLarge ? .max : larger
        }
        try checkSpace(total - size(of: partial))
        var done = 0
        for (file, target) in files {
            try Task.checkCancellation()
            if fileBytes(target) != file.bytes { try zip.extract(file, to: target) }
            done += file.bytes
            report(Copying(name: name, doneBytes: done, totalBytes: total))
        }
        return try publish(partial, as: name)
    }

    private func publish(_ partial: URL, as name: String) throws -> URL {
        let whole = folder.appending(path: name)
        if FileManager.default.fileExists(atPath: whole.path) { try FileManager.default.removeItem(at: whole) }
        try FileManager.default.moveItem(at: partial, to: whole)
        try removeUnusedModels()
        return whole
    }

    private func replace(_ target: URL, with source: URL) throws {
        try FileManager.default.createDirectory(
            at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
        try? FileManager.default.removeItem(at: target)
        try FileManager.default.copyItem(at: source, to: target)
    }

    private func checkSpace(_ neededBytes: Int) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let attributes = try FileManager.default.attributesOfFileSystem(forPath: folder.path)
        let free = (attributes[.systemFreeSize] as? NSNumber)?.intValue ?? .max
        guard neededBytes <= free - Self.spareBytes else {
            throw Problem(.noSpace, "\(neededBytes >> 20 + Self.spareBytes >> 20) MB / \(free >> 20) MB")
        }
    }

    private func relativeFiles(in root: URL) throws -> [(path: String, bytes: Int)] {
        let names = try FileManager.default.subpathsOfDirectory(atPath: root.path).sorted()
        return names.compactMap { name in fileBytes(root.appending(path: name)).map { (name, $0) } }
    }

    private func size(of root: URL) -> Int {
        ((try? relativeFiles(in: root)) ?? []).reduce(0) { $0 + $1.bytes }
    }
}

/// Returns the size of a file, nil if there is no file of that name.
private func fileBytes(_ place: URL) -> Int? {
    let attributes = try? FileManager.default.attributesOfItem(atPath: place.path)
    guard attributes?[.type] as? FileAttributeType == .typeRegular else { return nil }
    return (attributes?[.size] as? NSNumber)?.intValue
}

/// Returns the place of a path in a folder. Throws `Problem` if it leads out of it.
private func inside(_ root: URL, _ path: String) throws -> URL {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    guard !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." || $0.contains("\\") }) else {
        throw Problem(.corruptBundle, path)
    }
    return root.appending(path: path)
}

/// Returns a name that is a folder's name on every file system.
private func safeName(_ text: String) -> String {
    let plain = text.map { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) ? $0 : "_" }
    let trimmed = String(plain).trimmingCharacters(in: CharacterSet(charactersIn: "._"))
    return trimmed.isEmpty ? "bundle" : trimmed
}
