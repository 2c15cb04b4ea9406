/// A part of a text: an added token, or what stands between two of them, normalized.
enum TextPart: Equatable {
    case token(Int)
    case plain(Piece)
}

struct AddedToken {
    let id: Int
    let content: String
    let special: Bool
    let normalized: Bool
    let leftStrip: Bool
    let rightStrip: Bool
    let singleWord: Bool
}

/// The tokens that a text is split at before anything else is done with it.
struct AddedTokens {
    private let byId: [Int: AddedToken]
    private let raw: Matcher
    private let normalized: Matcher

    init(_ tokens: [AddedToken], normalize: TextStep) {
        byId = Dictionary(tokens.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        raw = Matcher(tokens.filter { !$0.normalized }.map { ($0.content, $0) })
        normalized = Matcher(tokens.filter(\.normalized).map { (normalize($0.content), $0) })
    }

    func token(_ id: Int) -> String? { byId[id]?.content }

    func isSpecial(_ id: Int) -> Bool { byId[id]?.special == true }

    /// Splits a text at the tokens that are matched as they are, then, normalized, at those that are normalized, too.
    func split(_ text: String, normalize: TextStep) -> [TextPart] {
        raw.split(Piece(text: text, isFirst: true)).flatMap { part -> [TextPart] in
            guard case .plain(let piece) = part else { return [part] }
            return normalized.split(Piece(text: normalize(piece.text), isFirst: piece.isFirst))
        }
    }
}

/// Finds the leftmost of some contents in a text, the longest where several begin at one place.
private struct Matcher {
    private var byFirst: [Unicode.Scalar: [(content: [Unicode.Scalar], token: AddedToken)]] = [:]

    init(_ tokens: [(String, AddedToken)]) {
        for (content, token) in tokens {
            let scalars = Array(content.unicodeScalars)
            if let first = scalars.first { byFirst[first, default: []].append((scalars, token)) }
        }
        for first in byFirst.keys { byFirst[first]?.sort { $0.content.count > $1.content.count } }
    }

    func split(_ piece: Piece) -> [TextPart] {
        let text = Array(piece.text.unicodeScalars)
        var parts: [TextPart] = []
        var (plain, at) = (0, 0)
        func addPlain(upTo stop: Int) {
            guard stop > plain else { return }
            parts.append(.plain(Piece(text: String(text[plain..<stop]), isFirst: piece.isFirst && plain == 0)))
        }
        while at < text.count {
            guard let (content, token) = match(text, at) else {
                at += 1
                continue
            }
            var (start, stop) = (at, at + content.count)
            while token.leftStrip, start > plain, text[start - 1].isWhite { start -= 1 }
            while token.rightStrip, stop < text.count, text[stop].isWhite { stop += 1 }
            addPlain(upTo: start)
            parts.append(.token(token.id))
            (plain, at) = (stop, stop)
        }
        addPlain(upTo: text.count)
        return parts
    }

    private func match(_ text: [Unicode.Scalar], _ at: Int) -> (content: [Unicode.Scalar], token: AddedToken)? {
        byFirst[text[at]]?.first { content, token in
            guard at + content.count <= text.count, text[at..<at + content.count].elementsEqual(content) else {
                return false
            }
            let neighbours = [at - 1, at + content.count].filter(text.indices.contains)
            return !token.singleWord || !neighbours.contains { text[$0].isWordLetter }
        }
    }
}

extension Unicode.Scalar {
    fileprivate var isWhite: Bool { properties.isWhitespace }

    fileprivate var isWordLetter: Bool { properties.isAlphabetic || properties.numericType != nil || self == "_" }
}

func readAddedTokens(_ field: Field?, normalize: TextStep) throws -> AddedTokens {
    let tokens = try field?.list { item in
        try item.record { record in
            func flag(_ name: String) throws -> Bool { try record.optional(name)?.flag() ?? false }
            return AddedToken(
                id: try record.required("id").count(),
                content: try record.required("content").text(),
                special: try flag("special"),
                normalized: try flag("normalized"),
                leftStrip: try flag("lstrip"),
                rightStrip: try flag("rstrip"),
                singleWord: try flag("single_word")
            )
        }
    }
    return AddedTokens(tokens ?? [], normalize: normalize)
}
