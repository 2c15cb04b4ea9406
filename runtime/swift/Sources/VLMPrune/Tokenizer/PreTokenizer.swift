/// Returns how a pre-tokenizer splits pieces of text.
func readPreTokenizer(_ field: Field) throws -> SplitStep {
    try field.record { record in
        switch try record.required("type").text() {
        case "Sequence":
            let steps = try record.required("pretokenizers").list(readPreTokenizer)
            return { pieces in steps.reduce(pieces) { $1($0) } }
        case "ByteLevel": return try readByteLevel(record)
        case "Split": return try readSplit(record)
        case "Digits":
            let behaviour: Behaviour =
                try record.optional("individual_digits")?.flag() == true ? .isolated : .contiguous
            return splitting(try UnicodeRegex(literal: #"\p{N}"#), behaviour)
        case "Metaspace": return try readMetaspace(record)
        case "Whitespace": return splitting(try UnicodeRegex(literal: #"\w+|[^\w\s]+"#), .removed, invert: true)
        case "WhitespaceSplit": return splitting(try UnicodeRegex(literal: #"\s+"#), .removed)
        case "Punctuation":
            let behaviour: Behaviour = try record.optional("behavior")?.choice() ?? .isolated
            return splitting(try UnicodeRegex(literal: #"[\p{P}$+<=>^`|~]"#), behaviour)
        default: throw try record.required("type").refused("a pre-tokenizer that is supported")
        }
    }
}

/// What is done with the matches of a pattern.
private enum Behaviour: String, CaseIterable {
    case removed = "Removed"
    case isolated = "Isolated"
    case contiguous = "Contiguous"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
}

/// The pattern that GPT-2's byte-level tokenizers split a text by.
private let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

private func readByteLevel(_ record: Record) throws -> SplitStep {
    let addsSpace = try record.optional("add_prefix_space")?.flag() ?? true
    let usesRegex = try record.optional("use_regex")?.flag() ?? true
    let split = usesRegex ? splitting(try UnicodeRegex(literal: gpt2), .isolated) : unsplit
    return { pieces in
        let spaced = pieces.map { piece in
            let text = addsSpace && piece.text.unicodeScalars.first != " " ? " " + piece.text : piece.text
            return Piece(text: text, isFirst: piece.isFirst)
        }
        return split(spaced).map { Piece(text: ByteLevel.encode($0.text), isFirst: $0.isFirst) }
    }
}

@Sendable private func unsplit(_ pieces: [Piece]) -> [Piece] { pieces }

private func readSplit(_ record: Record) throws -> SplitStep {
    let regex = try record.required("pattern").record { pattern in
        if let plain = pattern.optional("String") { return try UnicodeRegex(exactly: plain.text()) }
        return try UnicodeRegex(pattern.required("Regex"))
    }
    return splitting(
        regex, try record.required("behavior").choice(), invert: try record.optional("invert")?.flag() ?? false)
}

private enum PrependScheme: String, CaseIterable { case always, first, never }

private func readMetaspace(_ record: Record) throws -> SplitStep {
    let mark = try record.optional("replacement")?.text() ?? "\u{2581}"
    let scheme: PrependScheme = try record.optional("prepend_scheme")?.choice() ?? .always
    let splits = try record.optional("split")?.flag() ?? true
    let split = splits ? splitting(try UnicodeRegex(exactly: mark), .mergedWithNext) : unsplit
    return { pieces in
        split(
            pieces.map { piece in
                let text = piece.text.replacing(exactly: " ", with: mark)
                let prepends = scheme == .always || (scheme == .first && piece.isFirst)
                return Piece(text: prepends && !text.hasExactPrefix(mark) ? mark + text : text, isFirst: piece.isFirst)
            })
    }
}

/// Returns a splitter that does with the matches of a pattern what the behaviour says; inverted, with what is between.
private func splitting(_ regex: UnicodeRegex, _ behaviour: Behaviour, invert: Bool = false) -> SplitStep {
    { pieces in
        pieces.flatMap { piece in
            let parts = regex.parts(of: piece.text).map { RegexPart(text: $0.text, isMatch: $0.isMatch != invert) }
            return joined(parts, behaviour).enumerated().map {
                Piece(text: $0.element, isFirst: piece.isFirst && $0.offset == 0)
            }
        }
    }
}

private func joined(_ parts: [RegexPart], _ behaviour: Behaviour) -> [String] {
    switch behaviour {
    case .removed: parts.filter { !$0.isMatch }.map(\.text)
    case .isolated: parts.map(\.text)
    case .contiguous: joined(parts) { $0.isMatch == $1.isMatch }
    case .mergedWithPrevious: joined(parts) { !$0.isMatch && $1.isMatch }
    case .mergedWithNext: joined(parts) { $0.isMatch && !$1.isMatch }
    }
}

/// Joins neighbours that belong together.
private func joined(_ parts: [RegexPart], where belong: (RegexPart, RegexPart) -> Bool) -> [String] {
    var out: [String] = []
    for (nth, part) in parts.enumerated() {
        if nth > 0, belong(parts[nth - 1], part) { out[out.count - 1] += part.text } else { out.append(part.text) }
    }
    return out
}
