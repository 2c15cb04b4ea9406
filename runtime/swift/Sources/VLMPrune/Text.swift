/// Texts are compared, searched and cut by code points: by characters, Swift would hold canonically equivalent texts
/// for equal, and a line break of two bytes for one character.
extension String {
    /// Says whether a text stands in this one, code point by code point.
    func contains(exactly other: String) -> Bool {
        !other.isEmpty && Array(utf8).firstRange(of: Array(other.utf8), from: 0) != nil
    }

    /// Returns the text with every occurrence of another one replaced, found from left to right without overlap.
    func replacing(exactly old: String, with new: String) -> String {
        let (bytes, old, new) = (Array(utf8), Array(old.utf8), Array(new.utf8))
        guard !old.isEmpty else { return self }
        var out: [UInt8] = []
        var at = 0
        while let place = bytes.firstRange(of: old, from: at) {
            out += bytes[at..<place] + new
            at = place + old.count
        }
        return String(decoding: out + bytes[at...], as: UTF8.self)
    }

    func hasExactPrefix(_ prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

    func equals(exactly other: String) -> Bool { utf8.elementsEqual(other.utf8) }

    /// The text without white space at its start.
    var withoutLeadingSpace: String { String(unicodeScalars.drop(while: \.isSpace)) }

    /// The text without white space around it.
    var withoutSpaceAround: String {
        String(
            String(unicodeScalars.drop(while: \.isSpace)).unicodeScalars.reversed().drop(while: \.isSpace).reversed())
    }

    /// Returns the text without these code points at its start, its end, or both.
    func stripped(start: Bool, end: Bool, of characters: String) -> String {
        let removed = Set(characters.unicodeScalars)
        var scalars = Array(unicodeScalars)[...]
        if start { scalars = scalars.drop { removed.contains($0) } }
        while end, let last = scalars.last, removed.contains(last) { scalars.removeLast() }
        return String(scalars)
    }
}

extension Unicode.Scalar {
    /// Whether Python's `str.isspace` says so, by which the reference strips answers.
    var isSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }
}

extension Array where Element: Equatable {
    /// Returns where other elements begin in this array, at a place or behind it.
    func firstRange(of other: [Element], from start: Int) -> Int? {
        guard let first = other.first, count >= other.count else { return nil }
        for place in stride(from: start, through: count - other.count, by: 1) where self[place] == first {
            if self[place..<place + other.count].elementsEqual(other) { return place }
        }
        return nil
    }
}
