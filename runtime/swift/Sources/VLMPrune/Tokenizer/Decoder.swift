/// Returns how a decoder turns tokens into parts of a text.
func readDecoder(_ field: Field) throws -> DecodeStep {
    try field.record { record in
        switch try record.required("type").text() {
        case "Sequence":
            let steps = try record.required("decoders").list(readDecoder)
            return { tokens in steps.reduce(tokens) { $1($0) } }
        case "ByteLevel": return { [ByteLevel.decode($0)] }
        case "ByteFallback": return fallenBack
        case "Fuse": return { [$0.joined()] }
        case "Replace":
            let replace = try readReplace(record)
            return { $0.map(replace) }
        case "Strip": return try readStrip(record)
        case "Metaspace": return try readMetaspace(record)
        default: throw try record.required("type").refused("a decoder that is supported")
        }
    }
}

private let byteTokens = Dictionary(uniqueKeysWithValues: (UInt8.min...UInt8.max).map { (byteToken($0), $0) })

/// Joins tokens that stand for bytes to text; bytes that are no UTF-8 become U+FFFD, one for each.
@Sendable private func fallenBack(_ tokens: [String]) -> [String] {
    var out: [String] = []
    var bytes: [UInt8] = []
    func flush() {
        guard !bytes.isEmpty else { return }
        out.append(String(validating: bytes, as: UTF8.self) ?? String(repeating: "\u{FFFD}", count: bytes.count))
        bytes = []
    }
    for token in tokens {
        if let byte = byteTokens[token] {
            bytes.append(byte)
        } else {
            flush()
            out.append(token)
        }
    }
    flush()
    return out
}

/// Takes up to so many of a letter from the start and the end of every token.
private func readStrip(_ record: Record) throws -> DecodeStep {
    let content = Array(try record.required("content").text().unicodeScalars)
    let (start, stop) = (try record.required("start").count(), try record.required("stop").count())
    return { tokens in
        tokens.map { token in
            var letters = Array(token.unicodeScalars)[...]
            for _ in 0..<start where letters.starts(with: content) { letters = letters.dropFirst(content.count) }
            for _ in 0..<stop where letters.suffix(content.count).elementsEqual(content) {
                letters = letters.dropLast(content.count)
            }
            return String(letters)
        }
    }
}

private func readMetaspace(_ record: Record) throws -> DecodeStep {
    let mark = try record.optional("replacement")?.text() ?? "\u{2581}"
    let prepends = try record.optional("prepend_scheme")?.text() != "never"
    return { tokens in
        tokens.enumerated().map { nth, token in
            let isMarked = nth == 0 && prepends && token.hasExactPrefix(mark)
            let rest = isMarked ? String(token.unicodeScalars.dropFirst(mark.unicodeScalars.count)) : token
            return rest.replacing(exactly: mark, with: " ")
        }
    }
}
