/// A merge of two neighbours; the one of the lowest rank comes first.
struct Merge: Equatable {
    let rank: Int
    let id: Int
}

struct BPEOptions {
    let byteFallback: Bool
    let fuseUnknown: Bool
    let ignoreMerges: Bool
    let unknownId: Int?
    let continuingPrefix: String
    let endSuffix: String
}

/// Byte-pair encoding: a piece of text is cut into letters, and pairs of neighbours are merged, best rank first.
struct BPE {
    private let vocabulary: [[UInt8]: Int]
    private let tokens: [Int: String]
    private let merges: [Pair: Merge]
    private let options: BPEOptions

    init(vocabulary: [(name: String, value: Int)], merges: [Pair: Merge], options: BPEOptions) {
        self.vocabulary = Dictionary(vocabulary.map { (Array($0.name.utf8), $0.value) }, uniquingKeysWith: { $1 })
        tokens = Dictionary(vocabulary.map { ($0.value, $0.name) }, uniquingKeysWith: { $1 })
        self.merges = merges
        self.options = options
    }

    func token(_ id: Int) -> String? { tokens[id] }

    /// Adds the ids of a piece to `ids`.
    func encode(_ piece: String, into ids: inout [Int]) {
        if options.ignoreMerges, let whole = vocabulary[Array(piece.utf8)] {
            ids.append(whole)
        } else {
            ids += merged(symbols(piece))
        }
    }

    /// Returns the ids of the letters of a piece; one that is not in the vocabulary is its bytes, or unknown.
    private func symbols(_ piece: String) -> [Int] {
        let letters = Array(piece.unicodeScalars)
        var ids: [Int] = []
        var lastIsUnknown = false
        for (at, letter) in letters.enumerated() {
            let prefix = at == 0 ? "" : options.continuingPrefix
            let decorated = prefix + String(letter) + (at == letters.count - 1 ? options.endSuffix : "")
            let known = vocabulary[Array(decorated.utf8)].map { [$0] } ?? bytes(letter)
            if let known {
                ids += known
            } else if let unknown = options.unknownId, !(lastIsUnknown && options.fuseUnknown) {
                ids.append(unknown)
            }
            lastIsUnknown = known == nil
        }
        return ids
    }

    private func bytes(_ letter: Unicode.Scalar) -> [Int]? {
        guard options.byteFallback else { return nil }
        let bytes = Array(String(letter).utf8)
        let ids = bytes.compactMap { vocabulary[Array(byteToken($0).utf8)] }
        return ids.count == bytes.count ? ids : nil
    }

    /// Merges neighbours until no pair of them has a merge; ties go to the pair further left.
    private func merged(_ symbols: [Int]) -> [Int] {
        var word = Word(symbols)
        var queue = Heap()
        func candidate(_ at: Int) -> Candidate? {
            word.pair(at).flatMap { merges[$0] }.map { Candidate(rank: $0.rank, at: at, id: $0.id) }
        }
        for at in symbols.indices { candidate(at).map { queue.add($0) } }
        while let best = queue.takeFirst() {
            guard candidate(best.at) == best else { continue }
            word.merge(best.at, into: best.id)
            candidate(best.at).map { queue.add($0) }
            word.before(best.at).flatMap(candidate).map { queue.add($0) }
        }
        return word.ids
    }
}

/// Returns the token that stands for a byte.
func byteToken(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return "<0x\(digits.count == 1 ? "0" : "")\(digits)>"
}

struct Pair: Hashable {
    let left: Int
    let right: Int
}

private struct Candidate: Equatable {
    let rank: Int
    let at: Int
    let id: Int

    func isBefore(_ other: Candidate) -> Bool { (rank, at) < (other.rank, other.at) }
}

/// A binary heap whose first element is the best candidate.
private struct Heap {
    private var items: [Candidate] = []

    mutating func add(_ item: Candidate) {
        items.append(item)
        var at = items.count - 1
        while at > 0, items[at].isBefore(items[(at - 1) / 2]) {
            items.swapAt(at, (at - 1) / 2)
            at = (at - 1) / 2
        }
    }

    mutating func takeFirst() -> Candidate? {
        guard let first = items.first else { return nil }
        items.swapAt(0, items.count - 1)
        items.removeLast()
        var at = 0
        while let child = [2 * at + 1, 2 * at + 2].filter(items.indices.contains).min(by: {
            items[$0].isBefore(items[$1])
        }),
            items[child].isBefore(items[at])
        {
            items.swapAt(at, child)
            at = child
        }
        return first
    }
}

/// Symbols in a row, some of which have been merged into their left neighbour.
private struct Word {
    private var symbols: [Int]
    private var next: [Int]
    private var previous: [Int]
    private var isAlive: [Bool]

    init(_ symbols: [Int]) {
        self.symbols = symbols
        next = symbols.indices.map { $0 + 1 }
        previous = symbols.indices.map { $0 - 1 }
        isAlive = symbols.map { _ in true }
    }

    func pair(_ at: Int) -> Pair? {
        isAlive[at] && next[at] < symbols.count ? Pair(left: symbols[at], right: symbols[next[at]]) : nil
    }

    func before(_ at: Int) -> Int? { previous[at] < 0 ? nil : previous[at] }

    mutating func merge(_ at: Int, into id: Int) {
        let right = next[at]
        symbols[at] = id
        isAlive[right] = false
        next[at] = next[right]
        if next[at] < symbols.count { previous[next[at]] = at }
    }

    var ids: [Int] { symbols.indices.filter { isAlive[$0] }.map { symbols[$0] } }
}

func readBPE(_ field: Field) throws -> BPE {
    try field.record { record in
        if let type = record.optional("type"), try type.text() != "BPE" { throw type.refused("BPE") }
        if let dropout = record.optional("dropout") { throw dropout.refused("null") }
        let vocabulary = try record.required("vocab").table { try $1.count() }
        let ids = Dictionary(vocabulary.map { (Array($0.name.utf8), $0.value) }, uniquingKeysWith: { $1 })
        let options = try readOptions(record, ids)
        let merges = try readMerges(record.required("merges"), ids, prefix: options.continuingPrefix)
        return BPE(vocabulary: vocabulary, merges: merges, options: options)
    }
}

private func readOptions(_ record: Record, _ ids: [[UInt8]: Int]) throws -> BPEOptions {
    func flag(_ name: String) throws -> Bool { try record.optional(name)?.flag() ?? false }
    return BPEOptions(
        byteFallback: try flag("byte_fallback"),
        fuseUnknown: try flag("fuse_unk"),
        ignoreMerges: try flag("ignore_merges"),
        unknownId: try record.optional("unk_token").flatMap { ids[Array(try $0.text().utf8)] },
        continuingPrefix: try record.optional("continuing_subword_prefix")?.text() ?? "",
        endSuffix: try record.optional("end_of_word_suffix")?.text() ?? ""
    )
}

/// Reads merges, each "left right" or ["left", "right"], the best first.
private func readMerges(_ field: Field, _ ids: [[UInt8]: Int], prefix: String) throws -> [Pair: Merge] {
    var merges: [Pair: Merge] = [:]
    for (rank, item) in try field.list({ $0 }).enumerated() {
        let (left, right) = try readPair(item)
        let rest = right.starts(with: prefix.utf8) ? right.dropFirst(prefix.utf8.count) : right[...]
        guard let first = ids[left], let second = ids[right], let merged = ids[left + rest] else {
            throw item.refused("tokens of the vocabulary")
        }
        merges[Pair(left: first, right: second)] = Merge(rank: rank, id: merged)
    }
    return merges
}

private func readPair(_ item: Field) throws -> ([UInt8], [UInt8]) {
    let parts: [[UInt8]]
    if case .text(let text) = item.value {
        parts = text.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false).map(Array.init)
    } else {
        parts = try item.list { Array(try $0.text().utf8) }
    }
    guard parts.count == 2 else { throw item.refused("a pair of tokens") }
    return (parts[0], parts[1])
}
