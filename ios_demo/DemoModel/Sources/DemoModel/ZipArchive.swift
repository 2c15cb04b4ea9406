import Foundation

#if canImport(Compression)
import Compression
#else
import PictureFiles
#endif

/// One file in a zip archive.
struct ZipEntry: Equatable {
    let path: String
    let bytes: Int
    let packedBytes: Int
    let method: Int
    let offset: Int
    let crc: Int
}

/// Reads zip archives of stored and deflated files.
///
/// Source of the format: PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.
struct ZipArchive {
    private static let partBytes = 1 << 20

    let entries: [ZipEntry]
    private let data: Data
    private let name: String

    /// Reads the directory of an archive. Throws `Problem`.
    init(_ place: URL) throws {
        name = place.lastPathComponent
        data = try Data(contentsOf: place, options: .alwaysMapped)
        entries = try ZipDirectory(data: data, name: name).entries()
    }

    /// Writes a file of the archive. Throws `Problem` for a broken or unknown one, of which nothing is left.
    func extract(_ entry: ZipEntry, to target: URL) throws {
        let packed = try packed(entry)
        try FileManager.default.createDirectory(
            at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
        guard FileManager.default.createFile(atPath: target.path, contents: nil) else { throw Problem(.noSpace, name) }
        var isWhole = false
        defer { if !isWhole { try? FileManager.default.removeItem(at: target) } }
        let file = try FileHandle(forWritingTo: target)
        defer { try? file.close() }
        var written = Checked(bytes: 0, crc: Crc32())
        try unpack(packed, entry) { part in
            try Task.checkCancellation()
            written.add(part)
            guard written.bytes <= entry.bytes else { throw broken(entry) }
            try file.write(contentsOf: part)
        }
        isWhole = written.bytes == entry.bytes && written.crc.value == entry.crc
        guard isWhole else { throw broken(entry) }
    }

    private func broken(_ entry: ZipEntry) -> Problem { Problem(.unreadableFile, "\(name): \(entry.path)") }

    /// Returns the bytes of a file as they lie in the archive.
    private func packed(_ entry: ZipEntry) throws -> Data {
        let header = Reader(data: data, at: entry.offset)
        guard header.number(0, 4) == 0x0403_4b50, let nameBytes = header.number(26, 2),
            let extraBytes = header.number(28, 2)
        else { throw Problem(.unreadableFile, name) }
        let start = entry.offset + 30 + nameBytes + extraBytes
        guard start <= data.count, entry.packedBytes <= data.count - start else { throw Problem(.unreadableFile, name) }
        return data[data.startIndex + start..<data.startIndex + start + entry.packedBytes]
    }

    /// Gives a file's content part by part.
    private func unpack(_ packed: Data, _ entry: ZipEntry, write: (Data) throws -> Void) throws {
        switch entry.method {
        case 0:
            for start in stride(from: 0, to: packed.count, by: Self.partBytes) {
                try write(packed.dropFirst(start).prefix(Self.partBytes))
            }
        case 8: try inflate(packed, entry, write: write)
        default: throw broken(entry)
        }
    }

    private func inflate(_ packed: Data, _ entry: ZipEntry, write: (Data) throws -> Void) throws {
        #if canImport(Compression)
        var rest = packed
        let filter = try InputFilter(.decompress, using: .zlib) { (wanted: Int) -> Data? in
            defer { rest = rest.dropFirst(wanted) }
            return rest.isEmpty ? nil : rest.prefix(wanted)
        }
        while let part = try filter.readData(ofLength: Self.partBytes), !part.isEmpty {
            try write(part)
        }
        #else
        do {
            try write(Data(try inflated([UInt8](packed), limit: entry.bytes)))
        } catch is BrokenFile {
            throw broken(entry)
        }
        #endif
    }
}

/// How much was written, and its checksum.
private struct Checked {
    var bytes: Int
    var crc: Crc32

    mutating func add(_ part: Data) {
        bytes += part.count
        crc.add(part)
    }
}

/// The checksum of zip archives: CRC-32 of ISO 3309.
struct Crc32 {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }

    private var state = UInt32.max

    var value: Int { Int(~state) }

    mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { state = state >> 8 ^ Self.table[Int((state ^ UInt32(byte)) & 0xFF)] }
    }
}

/// Little-endian numbers at an offset.
private struct Reader {
    let data: Data
    let at: Int

    func number(_ offset: Int, _ bytes: Int) -> Int? {
        guard at >= 0, at <= data.count, at + offset + bytes <= data.count else { return nil }
        let start = at + offset
        var value: UInt64 = 0
        for nth in (0..<bytes).reversed() { value = value << 8 | UInt64(data[data.startIndex + start + nth]) }
        return Int(exactly: value)
    }
}

/// The list of files at the end of an archive.
private struct ZipDirectory {
    /// How many times larger deflated data becomes at most.
    private static let mostInflated = 1032

    let data: Data
    let name: String

    private var broken: Problem { Problem(.unreadableFile, name) }

    func entries() throws -> [ZipEntry] {
        var (at, count) = try place()
        var found: [ZipEntry] = []
        for _ in 0..<count {
            let header = Reader(data: data, at: at)
            guard header.number(0, 4) == 0x0201_4b50, let nameBytes = header.number(28, 2),
                let extraBytes = header.number(30, 2), let commentBytes = header.number(32, 2),
                at + 46 + nameBytes + extraBytes <= data.count
            else { throw broken }
            found.append(try entry(header, at, nameBytes, extraBytes))
            at += 46 + nameBytes + extraBytes + commentBytes
        }
        return found
    }

    private func entry(_ header: Reader, _ at: Int, _ nameBytes: Int, _ extraBytes: Int) throws -> ZipEntry {
        let start = data.startIndex + at + 46
        guard let path = String(data: data[start..<start + nameBytes], encoding: .utf8),
            let method = header.number(10, 2), let crc = header.number(16, 4), var packed = header.number(20, 4),
            var bytes = header.number(24, 4), var offset = header.number(42, 4)
        else { throw broken }
        var wide = WideFields(data: data, at: at + 46 + nameBytes, bytes: extraBytes)
        if bytes == 0xffff_ffff { bytes = try wide.next() ?? { throw broken }() }
        if packed == 0xffff_ffff { packed = try wide.next() ?? { throw broken }() }
        if offset == 0xffff_ffff { offset = try wide.next() ?? { throw broken }() }
        guard packed <= data.count, bytes / Self.mostInflated <= packed else { throw broken }
        return ZipEntry(path: path, bytes: bytes, packedBytes: packed, method: method, offset: offset, crc: crc)
    }

    /// Returns where the list begins and how long it is.
    private func place() throws -> (at: Int, count: Int) {
        let earliest = max(0, data.count - 65_557)
        guard data.count >= 22,
            let end = stride(from: data.count - 22, through: earliest, by: -1).first(where: {
                Reader(data: data, at: $0).number(0, 4) == 0x0605_4b50
            })
        else { throw broken }
        let record = Reader(data: data, at: end)
        guard let count = record.number(10, 2), let at = record.number(16, 4) else { throw broken }
        guard count == 0xffff || at == 0xffff_ffff else { return (at, count) }
        let locator = Reader(data: data, at: end - 20)
        guard locator.number(0, 4) == 0x0706_4b50, let wide = locator.number(8, 8) else { throw broken }
        let wideRecord = Reader(data: data, at: wide)
        guard wideRecord.number(0, 4) == 0x0606_4b50, let wideCount = wideRecord.number(32, 8),
            let wideAt = wideRecord.number(48, 8)
        else { throw broken }
        return (wideAt, wideCount)
    }
}

/// The numbers of 8 bytes that stand in an entry's extra field where 4 bytes are too few.
private struct WideFields {
    private let reader: Reader
    private var at: Int
    private let end: Int

    init(data: Data, at start: Int, bytes: Int) {
        reader = Reader(data: data, at: 0)
        var place = start
        while place + 4 <= start + bytes, let tag = reader.number(place, 2), let length = reader.number(place + 2, 2) {
            if tag == 1 {
                (at, end) = (place + 4, place + 4 + length)
                return
            }
            place += 4 + length
        }
        (at, end) = (start, start)
    }

    mutating func next() -> Int? {
        guard at + 8 <= end else { return nil }
        defer { at += 8 }
        return reader.number(at, 8)
    }
}
