import Foundation

/// What a request asks for instead of the bundle's own settings; nil leaves a setting. Temperature 0 is greedy.
public struct Sampling: Sendable, Equatable {
    public let temperature: Double?
    public let topP: Double?
    public let topK: Int?
    public let minP: Double?
    public let repetitionPenalty: Double?
    public let seed: Int

    /// Throws `BadRequest` for a setting out of its range.
    public init(
        temperature: Double? = nil, topP: Double? = nil, topK: Int? = nil, minP: Double? = nil,
        repetitionPenalty: Double? = nil, seed: Int = 0
    ) throws {
        try check("temperature", temperature, "0 or more") { $0.isFinite && $0 >= 0 }
        try check("top_p", topP, "above 0 up to 1") { $0 > 0 && $0 <= 1 }
        try check("top_k", topK.map(Double.init), "0 or more") { $0 >= 0 }
        try check("min_p", minP, "0 to 1") { (0...1).contains($0) }
        try check("repetition_penalty", repetitionPenalty, "above 0") { $0.isFinite && $0 > 0 }
        try check("seed", Double(seed), "0 or more") { $0 >= 0 }
        self.init(temperature, topP, topK, minP, repetitionPenalty, seed)
    }

    private init(
        _ temperature: Double?, _ topP: Double?, _ topK: Int?, _ minP: Double?, _ penalty: Double?, _ seed: Int
    ) {
        self.temperature = temperature
        self.topP = topP
        self.topK = topK
        self.minP = minP
        repetitionPenalty = penalty
        self.seed = seed
    }

    /// The bundle's own settings.
    public static let asExported = Sampling(nil, nil, nil, nil, nil, 0)
    /// The likeliest token each time; the bundle's penalties hold.
    public static let greedy = Sampling(0, nil, nil, nil, nil, 0)

    /// Returns the bundle's settings, with the requested ones in place of them.
    func applied(to settings: GenerationSpec) -> GenerationSpec {
        var applied = settings
        if let temperature {
            applied.doSample = temperature > 0
            if temperature > 0 { applied.temperature = temperature }
        }
        applied.topP = topP ?? settings.topP
        applied.topK = topK ?? settings.topK
        applied.minP = minP ?? settings.minP
        applied.repetitionPenalty = repetitionPenalty ?? settings.repetitionPenalty
        return applied
    }
}

private func check(_ name: String, _ value: Double?, _ allowed: String, _ holds: (Double) -> Bool) throws {
    guard let value, !holds(value) else { return }
    throw BadRequest("\(name): got \(value), allowed: \(allowed)")
}

/// Chooses the tokens of one answer; the sequence is the prompt and grows with every choice.
struct TokenChooser {
    let settings: GenerationSpec
    var limit: Int { progress.limit }
    private var progress: AnswerProgress
    private var random: SplitMix64

    init(_ settings: GenerationSpec, sequence: [Int], limit: Int, seed: Int = 0) {
        self.settings = settings
        progress = AnswerProgress(sequence: sequence, limit: limit)
        random = SplitMix64(state: UInt64(bitPattern: Int64(seed)))
    }

    /// Returns the id of the next token. Throws `EngineError` for logits that are not numbers.
    mutating func choose(_ logits: [Float]) throws -> Int {
        try checkNumbers(logits)
        let scores = penalised(logits, progress, settings)
        let token = settings.doSample ? try drawn(scores) : likeliest(scores)
        progress.sequence.append(token)
        progress.answerTokens += 1
        return token
    }

    private mutating func drawn(_ scores: [Float]) throws -> Int {
        let candidates = try samplingCandidates(scores, settings)
        var left = Double.random(in: 0..<1, using: &random)
        for candidate in candidates {
            left -= candidate.probability
            if left < 0 { return candidate.id }
        }
        return candidates[candidates.count - 1].id
    }
}

/// Returns the likeliest token, whatever a bundle's settings say.
func greedy(_ logits: [Float]) throws -> Int {
    try checkNumbers(logits)
    return likeliest(logits)
}

private func checkNumbers(_ logits: [Float]) throws {
    if logits.isEmpty || logits.contains(where: \.isNaN) {
        throw EngineError(stage: "tail", "the logits are not numbers")
    }
}

/// Returns the index of the largest score, the lowest among equals.
private func likeliest(_ scores: [Float]) -> Int {
    var best = 0
    for id in scores.indices where scores[id] > scores[best] { best = id }
    return best
}

/// Returns the tokens that may be sampled and their probabilities, likeliest first.
func samplingCandidates(_ scores: [Float], _ settings: GenerationSpec) throws -> [(id: Int, probability: Double)] {
    let scaled = scores.map { Double($0) / settings.temperature }
    var ids = scaled.indices.filter { scaled[$0].isFinite }.sorted { (-scaled[$0], $0) < (-scaled[$1], $1) }
    guard !ids.isEmpty else { throw EngineError(stage: "tail", "the generation settings forbid every token") }
    if settings.topK > 0 {
        let least = scaled[ids[min(settings.topK, ids.count) - 1]]
        ids = ids.filter { scaled[$0] >= least }
    }
    if settings.topP < 1 { ids = Array(ids.prefix(fewest(softmax(ids, scaled), with: settings.topP))) }
    let shares = softmax(ids, scaled)
    ids = ids.indices.filter { shares[$0] >= settings.minP * shares[0] }.map { ids[$0] }
    return zip(ids, softmax(ids, scaled)).map { (id: $0, probability: $1) }
}

/// Returns how many of the likeliest have at least the share `topP` together.
private func fewest(_ shares: [Double], with topP: Double) -> Int {
    var sum = 0.0
    for (nth, share) in shares.enumerated() {
        sum += share
        if sum >= topP { return nth + 1 }
    }
    return shares.count
}

private func softmax(_ ids: [Int], _ scaled: [Double]) -> [Double] {
    let powers = ids.map { exp(scaled[$0] - scaled[ids[0]]) }
    let total = powers.reduce(0, +)
    return powers.map { $0 / total }
}

/// A small generator whose numbers a seed determines on every platform.
private struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
