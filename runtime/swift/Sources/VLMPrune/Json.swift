/// A value of a JSON document; whole numbers beyond 64 bits are `number`.
enum JSONValue: Sendable, Equatable {
    case null
    case flag(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case list([JSONValue])
    case object(JSONObject)
}

/// The fields of a JSON object in their order.
///
/// Names are compared byte by byte: two texts that Swift holds for equal because they are canonically equivalent
/// are different names, and different tokens of a vocabulary.
struct JSONObject: Sendable, Equatable {
    private(set) var names: [String] = []
    private(set) var values: [JSONValue] = []
    private var places: [[UInt8]: Int] = [:]

    /// Adds a field, and returns whether its name is new.
    mutating func add(_ name: String, _ value: JSONValue) -> Bool {
        guard places.updateValue(names.count, forKey: Array(name.utf8)) == nil else { return false }
        names.append(name)
        values.append(value)
        return true
    }

    subscript(name: String) -> JSONValue? { places[Array(name.utf8)].map { values[$0] } }
}

/// Returns the value in a JSON text. Throws `BundleError` for `file` if it is not strict JSON: a field that stands
/// twice, deep nesting and numbers such as NaN are refused.
func parseJSON(_ bytes: [UInt8], file: String) throws -> JSONValue {
    guard String(validating: bytes, as: UTF8.self) != nil else {
        throw BundleError(file, "is not JSON: it is not UTF-8 text")
    }
    return try bytes.withUnsafeBufferPointer { buffer in
        var parser = JSONParser(bytes: buffer, file: file)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.isAtEnd else { throw parser.refused("more text behind its end") }
        return value
    }
}

private let maxDepth = 100

private struct JSONParser {
    let bytes: UnsafeBufferPointer<UInt8>
    let file: String
    private var at = 0

    init(bytes: UnsafeBufferPointer<UInt8>, file: String) {
        self.bytes = bytes
        self.file = file
    }

    var isAtEnd: Bool { at == bytes.count }

    func refused(_ reason: String) -> BundleError { BundleError(file, "is not JSON: \(reason), at byte \(at)") }

    mutating func skipSpace() {
        while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    }

    mutating func value(depth: Int) throws -> JSONValue {
        guard depth < maxDepth else { throw refused("it is nested more than \(maxDepth) deep") }
        skipSpace()
        guard let first = peek else { throw refused("it ends too early") }
        switch first {
        case UInt8(ascii: "{"): return .object(try object(depth: depth))
        case UInt8(ascii: "["): return .list(try list(depth: depth))
        case UInt8(ascii: "\""): return .text(try text())
        case UInt8(ascii: "t"): return try word("true", .flag(true))
        case UInt8(ascii: "f"): return try word("false", .flag(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

    /// Steps over a byte if it is the next one.
    private mutating func take(_ byte: Character) -> Bool {
        skipSpace()
        guard peek == byte.asciiValue else { return false }
        at += 1
        return true
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws -> JSONValue {
        for byte in word.utf8 {
            guard peek == byte else { throw refused("expected \(word)") }
            at += 1
        }
        return value
    }

    private mutating func object(depth: Int) throws -> JSONObject {
        var object = JSONObject()
        at += 1
        if take("}") { return object }
        repeat {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw refused("expected the name of a field") }
            let name = try text()
            guard take(":") else { throw refused("expected a colon") }
            let value = try value(depth: depth + 1)
            guard object.add(name, value) else { throw BundleError(file, "field \(shortRepr(name)) is there twice") }
        } while take(",")
        guard take("}") else { throw refused("expected a comma or }") }
        return object
    }

    private mutating func list(depth: Int) throws -> [JSONValue] {
        var items: [JSONValue] = []
        at += 1
        if take("]") { return items }
        repeat { items.append(try value(depth: depth + 1)) } while take(",")
        guard take("]") else { throw refused("expected a comma or ]") }
        return items
    }

    private mutating func text() throws -> String {
        at += 1
        let start = at
        while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { at += 1 }
        var units = Array(bytes[start..<at])
        while true {
            guard let byte = peek, byte >= 0x20 else {
                throw refused("a text does not end, or has a control character")
            }
            at += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: units, as: UTF8.self) }
            if byte == UInt8(ascii: "\\") {
                units.append(contentsOf: Array(String(try escape()).utf8))
            } else {
                units.append(byte)
            }
        }
    }

    /// Returns the character of an escape; half of a surrogate pair is refused.
    private mutating func escape() throws -> Unicode.Scalar {
        guard let byte = peek else { throw refused("a text does not end") }
        at += 1
        switch byte {
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "u"): return try unicodeEscape()
        default: throw refused("unknown escape")
        }
    }

    private mutating func unicodeEscape() throws -> Unicode.Scalar {
        let first = try hexDigits()
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00, peek == UInt8(ascii: "\\") else { throw refused("half a surrogate pair") }
        at += 1
        guard peek == UInt8(ascii: "u") else { throw refused("half a surrogate pair") }
        at += 1
        let second = try hexDigits()
        guard (0xDC00..<0xE000).contains(second),
            let scalar = Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
        else { throw refused("half a surrogate pair") }
        return scalar
    }

    private mutating func hexDigits() throws -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw refused("expected four hexadecimal digits")
            }
            value = value * 16 + UInt32(digit)
            at += 1
        }
        return value
    }

    private mutating func number() throws -> JSONValue {
        let start = at
        _ = skip("-")
        let whole = digits()
        guard whole == 1 || (whole > 1 && bytes[start] != UInt8(ascii: "0") && !startsWithMinusZero(start)) else {
            throw refused("expected a value")
        }
        var isWhole = true
        if skip(".") {
            isWhole = false
            guard digits() > 0 else { throw refused("expected digits") }
        }
        if skip("e") || skip("E") {
            isWhole = false
            if !skip("+") { _ = skip("-") }
            guard digits() > 0 else { throw refused("expected digits") }
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if isWhole, let number = Int(text) { return .integer(number) }
        guard let number = Double(text) else { throw refused("expected a number") }
        return .number(number)
    }

    private func startsWithMinusZero(_ start: Int) -> Bool {
        bytes[start] == UInt8(ascii: "-") && bytes[start + 1] == UInt8(ascii: "0")
    }

    private mutating func skip(_ byte: Character) -> Bool {
        guard peek == byte.asciiValue else { return false }
        at += 1
        return true
    }

    private mutating func digits() -> Int {
        let start = at
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { at += 1 }
        return at - start
    }
}
