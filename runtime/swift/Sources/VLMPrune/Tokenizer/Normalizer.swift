import Foundation

/// Returns what a normalizer does to a text.
func readNormalizer(_ field: Field) throws -> TextStep {
    try field.record { record in
        switch try record.required("type").text() {
        case "Sequence":
            let steps = try record.required("normalizers").list(readNormalizer)
            return { text in steps.reduce(text) { $1($0) } }
        case "NFC": return { $0.precomposedStringWithCanonicalMapping }
        case "NFD": return { $0.decomposedStringWithCanonicalMapping }
        case "NFKC": return { $0.precomposedStringWithCompatibilityMapping }
        case "NFKD": return { $0.decomposedStringWithCompatibilityMapping }
        case "Lowercase": return { $0.unicodeScalars.map(\.properties.lowercaseMapping).joined() }
        case "Prepend":
            let prefix = try record.required("prepend").text()
            return { $0.isEmpty ? $0 : prefix + $0 }
        case "Replace": return try readReplace(record)
        case "Strip": return try readStrip(record)
        case "StripAccents":
            return { text in String(text.unicodeScalars.filter { $0.properties.generalCategory != .nonspacingMark }) }
        default: throw try record.required("type").refused("a normalizer that is supported")
        }
    }
}

private func readStrip(_ record: Record) throws -> TextStep {
    let left = try record.optional("strip_left")?.flag() ?? true
    let right = try record.optional("strip_right")?.flag() ?? true
    return { text in
        var scalars = Array(text.unicodeScalars)[...]
        if left { scalars = scalars.drop { $0.properties.isWhitespace } }
        while right, let last = scalars.last, last.properties.isWhitespace { scalars.removeLast() }
        return String(scalars)
    }
}

/// Returns a replacement as normalizers and decoders have it: a text or a regular expression, and what replaces it.
func readReplace(_ record: Record) throws -> TextStep {
    let content = try record.required("content").text()
    return try record.required("pattern").record { pattern in
        if let plain = try pattern.optional("String")?.text() { return { $0.replacing(exactly: plain, with: content) } }
        let regex = try UnicodeRegex(pattern.required("Regex"))
        return { text in regex.parts(of: text).map { $0.isMatch ? content : $0.text }.joined() }
    }
}
