/// How the next token is chosen; the schema says in which order these change the logits.
public struct GenerationSpec: Sendable, Equatable {
    public var stopTokenIds: [Int]
    public var maxNewTokens: Int? = nil
    public var maxLength: Int? = nil
    public var repetitionPenalty = 1.0
    public var noRepeatNgramSize = 0
    public var badWordsIds: [[Int]] = []
    public var minLength = 0
    public var minNewTokens = 0
    public var forcedStopTokenIds: [Int] = []
    public var suppressTokenIds: [Int] = []
    public var beginSuppressTokenIds: [Int] = []
    public var doSample = false
    public var temperature = 1.0
    public var topK = 0
    public var topP = 1.0
    public var minP = 0.0

    /// Returns how many tokens an answer may have, at least one.
    func limit(promptTokens: Int, otherwise: Int) -> Int {
        maxNewTokens ?? maxLength.map { max(1, $0 - promptTokens) } ?? otherwise
    }
}

func readGeneration(_ field: Field) throws -> GenerationSpec {
    try field.record { record in
        func count(_ name: String) throws -> Int { try record.given(name)?.count() ?? 0 }
        func ids(_ name: String) throws -> [Int] { try record.given(name)?.tokenIds() ?? [] }
        return GenerationSpec(
            stopTokenIds: try record.required("stop_token_ids").tokenIds(),
            maxNewTokens: try record.optional("max_new_tokens")?.integer(),
            maxLength: try record.optional("max_length")?.integer(),
            repetitionPenalty: try record.given("repetition_penalty")?.number { $0 > 0 } ?? 1,
            noRepeatNgramSize: try count("no_repeat_ngram_size"),
            badWordsIds: try record.given("bad_words_ids")?.list(readBadWord) ?? [],
            minLength: try count("min_length"),
            minNewTokens: try count("min_new_tokens"),
            forcedStopTokenIds: try ids("forced_stop_token_ids"),
            suppressTokenIds: try ids("suppress_token_ids"),
            beginSuppressTokenIds: try ids("begin_suppress_token_ids"),
            doSample: try record.given("do_sample")?.flag() ?? false,
            temperature: try record.given("temperature")?.number { $0 > 0 } ?? 1,
            topK: try count("top_k"),
            topP: try record.given("top_p")?.number { $0 > 0 && $0 <= 1 } ?? 1,
            minP: try record.given("min_p")?.number { (0...1).contains($0) } ?? 0
        )
    }
}

extension Field {
    fileprivate func tokenIds() throws -> [Int] { try list { try $0.count() } }
}

private func readBadWord(_ field: Field) throws -> [Int] {
    let ids = try field.tokenIds()
    guard !ids.isEmpty else { throw field.refused("at least one token id") }
    return ids
}
