import Foundation

private let spaces = #"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"#
private let wordLetters = #"\p{L}\p{M}\p{Nd}\p{Pc}"#

/// A part of a text: a match of a regular expression, or what stands between two.
struct RegexPart: Equatable {
    let text: String
    let isMatch: Bool
}

/// A regular expression of a tokenizer, as Oniguruma understands it.
///
/// Its classes know all of Unicode; those of ICU that differ, `\s` and `\w`, are spelled out.
/// `NSRegularExpression` is immutable and documented as safe to use from several threads.
struct UnicodeRegex: @unchecked Sendable {
    private let regex: NSRegularExpression

    /// Reads a pattern. Throws `BundleError` if it is no regular expression.
    init(_ field: Field) throws {
        guard let regex = try? NSRegularExpression(pattern: spelledOut(try field.text())) else {
            throw field.refused("a regular expression")
        }
        self.regex = regex
    }

    /// Takes a pattern that is known to be one.
    init(literal pattern: String) throws {
        regex = try NSRegularExpression(pattern: spelledOut(pattern))
    }

    /// Takes a text that stands for itself.
    init(exactly text: String) throws {
        regex = try NSRegularExpression(pattern: NSRegularExpression.escapedPattern(for: text))
    }

    /// Returns the text in parts, of which none is empty.
    func parts(of text: String) -> [RegexPart] {
        let units = Array(text.utf16)
        var parts: [RegexPart] = []
        var at = 0
        func add(upTo stop: Int, isMatch: Bool) {
            guard stop > at else { return }
            parts.append(RegexPart(text: String(decoding: units[at..<stop], as: UTF16.self), isMatch: isMatch))
            at = stop
        }
        for match in regex.matches(in: text, range: NSRange(location: 0, length: units.count))
        where match.range.length > 0 {
            add(upTo: match.range.location, isMatch: false)
            add(upTo: match.range.location + match.range.length, isMatch: true)
        }
        add(upTo: units.count, isMatch: false)
        return parts
    }
}

private func spelledOut(_ pattern: String) -> String {
    var out = ""
    var classes = 0
    var letters = pattern.unicodeScalars.makeIterator()
    while let letter = letters.next() {
        if letter == "\\", let escaped = letters.next() {
            out += classOf(escaped, isInClass: classes > 0) ?? "\\" + String(escaped)
            continue
        }
        if letter == "[" { classes += 1 }
        if letter == "]", classes > 0 { classes -= 1 }
        out.unicodeScalars.append(letter)
    }
    return out
}

/// Returns a class that ICU understands in another way, spelled out; nil for any other escape.
private func classOf(_ letter: Unicode.Scalar, isInClass: Bool) -> String? {
    switch letter {
    case "s": isInClass ? spaces : "[\(spaces)]"
    case "S": "[^\(spaces)]"
    case "w": isInClass ? wordLetters : "[\(wordLetters)]"
    case "W": "[^\(wordLetters)]"
    default: nil
    }
}
