import Foundation

/// The benchmarks that were measured on this device, a file each, where Files and `vlmprune-device` find them.
public struct ReportArchive: Sendable {
    private static let moments = ".moments"

    let folder: URL

    /// Returns all reports, the newest first; what cannot be read is left out.
    func read() -> [BenchmarkReport] {
        let files = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
        let records = files.filter { $0.pathExtension == "json" }
        return records.compactMap(report).sorted { ($0.created, $0.id) > ($1.created, $1.id) }
    }

    private func report(_ place: URL) -> BenchmarkReport? {
        guard let json = try? Data(contentsOf: place) else { return nil }
        let kept = try? Data(contentsOf: place.appendingPathExtension(String(Self.moments.dropFirst())))
        let moments = kept.flatMap { try? JSONDecoder().decode([DeviceMoment].self, from: $0) }
        return try? BenchmarkReport(id: place.lastPathComponent, json: json, moments: moments ?? [])
    }

    /// Returns a name that no record has yet; names sort by time.
    func newName(_ now: Date = .now) -> String {
        let stamp = now.formatted(.iso8601.dateSeparator(.dash).timeSeparator(.omitted)).replacing(":", with: "")
        var (name, nth) = (stamp + ".json", 1)
        while FileManager.default.fileExists(atPath: folder.appending(path: name).path) {
            nth += 1
            name = "\(stamp)_\(nth).json"
        }
        return name
    }

    /// Writes a record whole, and what the device was like meanwhile beside it.
    func save(_ json: Data, moments: [DeviceMoment], as name: String) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try JSONEncoder().encode(moments).write(to: folder.appending(path: name + Self.moments), options: .atomic)
        try json.write(to: folder.appending(path: name), options: .atomic)
    }

    func delete(_ id: String) throws {
        try FileManager.default.removeItem(at: folder.appending(path: id))
        try? FileManager.default.removeItem(at: folder.appending(path: id + Self.moments))
    }

    /// Tells whoever waits outside how far the record of that name is, in one line.
    func tell(_ line: String, of name: String) {
        try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let place = folder.appending(path: name + ".status")
        try? line.write(to: place, atomically: true, encoding: .utf8)
    }
}
