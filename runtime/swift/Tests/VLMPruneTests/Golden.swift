import Foundation
import PictureFiles

@testable import VLMPrune

/// The files that runners in all languages are tested with.
let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appending(path: "../../../../tests/golden").standardizedFileURL

func json(_ path: URL) throws -> JSONValue {
    try parseJSON([UInt8](Data(contentsOf: path)), file: path.lastPathComponent)
}

func goldenPicture(_ name: String) throws -> Picture {
    try decodedPNG([UInt8](Data(contentsOf: golden.appending(path: name))))
}

func decodedPNG(_ bytes: [UInt8]) throws -> Picture { try decodePNG(bytes).upright() }

func goldenRows(_ name: String) throws -> [JSONValue] { try json(golden.appending(path: name)).items }

/// Makes an empty folder, and removes it when the test is over.
func withScratch<Result>(_ use: (URL) async throws -> Result) async throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try await use(folder)
}

/// Returns the error with which something is refused.
func refusal(_ act: () throws -> Void) throws -> BundleError {
    do {
        try act()
    } catch let error as BundleError {
        return error
    }
    throw NotRefused()
}

private struct NotRefused: Error {}

/// Copies a golden bundle into a folder, and returns the copy.
func copyBundle(_ name: String, into folder: URL) throws -> URL {
    let copy = folder.appending(path: "bundle")
    try FileManager.default.copyItem(at: golden.appending(path: name), to: copy)
    return copy
}

extension JSONValue {
    var items: [JSONValue] { if case .list(let items) = self { items } else { [] } }
    var int: Int? { if case .integer(let number) = self { number } else { nil } }
    var string: String? { if case .text(let text) = self { text } else { nil } }
    var bool: Bool? { if case .flag(let flag) = self { flag } else { nil } }
    var ints: [Int] { items.compactMap(\.int) }

    subscript(name: String) -> JSONValue? { if case .object(let object) = self { object[name] } else { nil } }

    /// Returns the document with the field at a path set to a value, or removed.
    func changed(at path: [JSONValue], to value: JSONValue?) -> JSONValue {
        guard let key = path.first else { return value ?? .null }
        let rest = Array(path.dropFirst())
        switch self {
        case .list(let items):
            return .list(
                items.enumerated().map { $0.offset == key.int ? $0.element.changed(at: rest, to: value) : $0.element })
        case .object(let object): return .object(object.changed(at: key.string ?? "", rest: rest, to: value))
        default: return self
        }
    }

    /// The value as JSON.
    var encoded: String {
        switch self {
        case .null: "null"
        case .flag(let flag): "\(flag)"
        case .integer(let number): "\(number)"
        case .number(let number): "\(number)"
        case .text(let text): "\"" + text.unicodeScalars.map(escaped).joined() + "\""
        case .list(let items): "[" + items.map(\.encoded).joined(separator: ",") + "]"
        case .object(let object):
            "{"
                + zip(object.names, object.values).map { "\(JSONValue.text($0).encoded):\($1.encoded)" }.joined(
                    separator: ",") + "}"
        }
    }
}

extension JSONObject {
    fileprivate func changed(at key: String, rest: [JSONValue], to value: JSONValue?) -> JSONObject {
        var out = JSONObject()
        for (name, old) in zip(names, values) {
            if name != key {
                _ = out.add(name, old)
            } else if !rest.isEmpty {
                _ = out.add(name, old.changed(at: rest, to: value))
            }
        }
        if rest.isEmpty, let value { _ = out.add(key, value) }
        return out
    }
}

private func escaped(_ scalar: Unicode.Scalar) -> String {
    scalar == "\"" || scalar == "\\" || scalar.value < 0x20
        ? "\\u" + String(0x10000 + scalar.value, radix: 16).dropFirst() : String(scalar)
}
