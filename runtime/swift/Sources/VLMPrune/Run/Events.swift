/// What happens while an answer comes about.
public enum RunEvent: Sendable, Equatable {
    /// A stage has run.
    case stage(StageTime)
    /// The last cut has chosen the visual tokens of a view.
    case pruned(Pruned)
    /// The next whole characters of the answer.
    case text(String)
    /// The answer is complete.
    case finished(RunResult)
}

/// The time that a stage took.
public struct StageTime: Sendable, Equatable {
    public let stage: String
    public let ms: Double
}

/// Which visual tokens of a view were kept, as cells of its grid in the picture's order, and the rank of each choice, from 0.
///
/// `view` counts the views of one picture, in the order of the prompt.
public struct Pruned: Sendable, Equatable {
    public let kept: [Int]
    public let rank: [Int]
    public let visualTokens: Int
    public let picture: Int
    public let view: Int
}

/// As what a view of a picture was seen, and where it lies in the picture.
public struct SeenView: Sendable, Equatable {
    public let picture: Int
    public let view: Int
    public let grid: Grid
    public let box: Box
    /// The place of a tile; nil for a view that shows the whole picture.
    public let tile: TilePlace?
}

public enum StopReason: String, Sendable { case stop, length }

/// The times of every stage up to the first token in turn, and of each later token, in milliseconds.
///
/// `ttftMs` runs from receiving pictures and prompt to choosing the first token, so it slightly exceeds the sum.
public struct Timings: Sendable, Equatable {
    public let stages: [StageTime]
    public let ttftMs: Double
    public let decodeMs: [Double]

    /// Returns the time of one stage, all pictures together; 0 if it did not run.
    public func ms(of stage: String) -> Double { stages.reduce(0) { $0 + ($1.stage == stage ? $1.ms : 0) } }

    /// The time of every stage, all of its calls together, in the order in which the stages first ran.
    public var byStage: [StageTime] {
        var names: [String] = []
        for time in stages where !names.contains(time.stage) { names.append(time.stage) }
        return names.map { StageTime(stage: $0, ms: ms(of: $0)) }
    }

    /// The time that the language model takes for the prompt, the pruner included.
    public var llmPrefillMs: Double { ["prune_vision", "head", "prune", "tail"].reduce(0) { $0 + ms(of: $1) } }

    /// The speed after the first token, nil if there was no second.
    public var decodeTokensPerSecond: Double? {
        let total = decodeMs.reduce(0, +)
        return total > 0 ? 1000 * Double(decodeMs.count) / total : nil
    }
}

/// The whole answer; `tokenIds` leave out the stop token that ends an answer.
///
/// `promptTokens` count all tokens before the answer, `prefilledTokens` those that were run for it: of a further
/// question, the new ones.
public struct RunResult: Sendable, Equatable {
    public let text: String
    public let tokenIds: [Int]
    public let reason: StopReason
    public let promptTokens: Int
    public let prefilledTokens: Int
    public let pruned: [Pruned]
    public let seen: [SeenView]
    public let timings: Timings
}
