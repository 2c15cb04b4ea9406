import Foundation

private let maxManifestBytes = 8 << 20
private let partBytes = 4 << 20

/// A bundle whose manifest and files agree.
public struct Bundle: Sendable {
    public let folder: URL
    public let manifest: Manifest
    /// Whether the hashes of all files were compared with the manifest's.
    public let isVerified: Bool

    /// Returns where a listed file or package lies. Throws `BundleError` for other names.
    public func path(_ name: String) throws -> URL {
        guard manifest.files.contains(where: { $0.name == name || $0.name.hasPrefix(name + "/") }) else {
            throw BundleError(Manifest.fileName, "\(shortRepr(name)) is not listed", field: "files")
        }
        return folder.appending(path: name)
    }

    /// Opens the bundle in a folder. Throws `BundleError` with file and field, `CancellationError` if its task is cancelled.
    ///
    /// Sizes and paths are checked always, hashes only with `verify`; `progress` gets the fraction of the bytes whose
    /// hashes are checked.
    public static func open(
        _ folder: URL, verify: Bool = true, progress: (Double) -> Void = { _ in }
    ) throws -> Bundle {
        guard isFolder(folder.path) else { throw BundleError(folder.path, "no such folder") }
        let manifest = try readManifestOnly(in: folder)
        let total = max(1, manifest.files.reduce(0) { $0 + $1.sizeBytes })
        var done = 0
        for entry in manifest.files {
            let url = try checkedLocation(folder, entry)
            guard verify else { continue }
            let hash = try fileSha256(url, name: entry.name) { bytes in
                done += bytes
                progress(Double(done) / Double(total))
            }
            guard hash == entry.sha256 else {
                throw BundleError(entry.name, "is not the file that was exported: other sha256", field: "sha256")
            }
        }
        try checkPackages(folder, manifest)
        return Bundle(folder: folder, manifest: manifest, isVerified: verify)
    }

    /// Returns the manifest alone: what a list of bundles shows, before anything large is read.
    public static func readManifestOnly(in folder: URL) throws -> Manifest {
        let path = folder.appending(path: Manifest.fileName).path
        guard let size = fileSize(path) else { throw BundleError(Manifest.fileName, "is missing") }
        guard size <= maxManifestBytes else {
            throw BundleError(Manifest.fileName, "is larger than \(maxManifestBytes) bytes")
        }
        return try parseManifest(try readBytes(path, name: Manifest.fileName))
    }

    /// The hash of the manifest, which stands for the whole bundle since it holds every other file's hash.
    public func manifestSha256() throws -> String {
        try fileSha256(folder.appending(path: Manifest.fileName), name: Manifest.fileName)
    }
}

func readBytes(_ path: String, name: String) throws -> [UInt8] {
    do {
        return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
        throw BundleError(name, "cannot be read: \(firstLine(error.localizedDescription))")
    }
}

/// Returns the SHA-256 of a file; `read` gets the number of bytes of each part of it.
func fileSha256(_ url: URL, name: String, read: (Int) -> Void = { _ in }) throws -> String {
    var digest = Sha256()
    do {
        let file = try FileHandle(forReadingFrom: url)
        defer { try? file.close() }
        while let part = try file.read(upToCount: partBytes), !part.isEmpty {
            try Task.checkCancellation()
            part.withUnsafeBytes { digest.update($0) }
            read(part.count)
        }
    } catch let error as CancellationError {
        throw error
    } catch {
        throw BundleError(name, "cannot be read: \(firstLine(error.localizedDescription))")
    }
    return digest.hexDigits()
}

private func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
}

/// Returns the size of a regular file, nil for anything else; links are followed.
private func fileSize(_ path: String) -> Int? {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return Int(status.st_size)
}

/// Returns the path without links, nil if it leads nowhere.
private func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
}

/// Returns where a file lies, which must be inside the folder, whatever links say, and of the size in the manifest.
private func checkedLocation(_ folder: URL, _ entry: FileEntry) throws -> URL {
    let url = folder.appending(path: entry.name)
    guard let real = realPath(url.path), let realFolder = realPath(folder.path) else {
        throw BundleError(entry.name, "is missing")
    }
    let isStored = isInBlobStore(folder: realFolder, file: real)
    guard real.hasPrefix(realFolder + "/") || isStored else {
        throw BundleError(entry.name, "leads outside the bundle folder; copy the folder with what its links lead to")
    }
    if entry.name.contains("/"), !isStored, real != realFolder + "/" + entry.name {
        throw BundleError(entry.name, "is a link, or lies behind one")
    }
    guard let size = fileSize(real) else { throw BundleError(entry.name, "is not a file") }
    guard size == entry.sizeBytes else {
        let what = size < entry.sizeBytes ? "truncated" : "too long"
        throw BundleError(entry.name, "is \(what): got \(size) bytes, expected \(entry.sizeBytes)", field: "size_bytes")
    }
    return url
}

/// Says whether the folder is a snapshot in a model hub's cache and the file lies in that cache's blob store.
private func isInBlobStore(folder: String, file: String) -> Bool {
    let snapshots = URL(fileURLWithPath: folder).deletingLastPathComponent()
    let store = snapshots.deletingLastPathComponent().appending(path: "blobs").path
    return snapshots.lastPathComponent == "snapshots"
        && URL(fileURLWithPath: file).deletingLastPathComponent().path == store
}

/// Core ML reads a package as a whole, so nothing may lie in it that is not listed.
private func checkPackages(_ folder: URL, _ manifest: Manifest) throws {
    let names = Set(manifest.files.map(\.name))
    for package in Set(names.filter { $0.contains("/") }.map { String($0.prefix { $0 != "/" }) }) {
        let root = folder.appending(path: package).path
        for inside in FileManager.default.enumerator(atPath: root)?.compactMap({ $0 as? String }) ?? [] {
            let attributes = try? FileManager.default.attributesOfItem(atPath: "\(root)/\(inside)")
            let name = "\(package)/\(inside)"
            if !names.contains(name), attributes?[.type] as? FileAttributeType != .typeDirectory {
                throw BundleError(name, "is in the package, but not listed", field: "files")
            }
        }
    }
}
