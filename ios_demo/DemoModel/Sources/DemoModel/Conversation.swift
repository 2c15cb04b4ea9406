import Foundation

/// A photo that was chosen: the bytes of its file.
public struct Photo: Identifiable, Equatable, Sendable {
    public let id: UUID
    public let name: String
    public let bytes: Data

    public init(id: UUID = UUID(), name: String, bytes: Data) {
        self.id = id
        self.name = name
        self.bytes = bytes
    }
}

/// A rectangle in fractions of the upright photo.
public struct Area: Equatable, Sendable {
    public let left: Double
    public let top: Double
    public let right: Double
    public let bottom: Double

    public init(left: Double, top: Double, right: Double, bottom: Double) {
        (self.left, self.top, self.right, self.bottom) = (left, top, right, bottom)
    }
}

/// What was kept of one view of a photo: its patches in the order in which they were chosen.
public struct KeptView: Equatable, Sendable {
    public let photo: Int
    public let seen: Area
    public let patches: [Area]
    public let visualTokens: Int

    public init(photo: Int, seen: Area, patches: [Area], visualTokens: Int) {
        (self.photo, self.seen, self.patches, self.visualTokens) = (photo, seen, patches, visualTokens)
    }
}

public struct StageTime: Equatable, Sendable {
    public let stage: String
    public let milliseconds: Double

    public init(stage: String, milliseconds: Double) {
        (self.stage, self.milliseconds) = (stage, milliseconds)
    }
}

/// What an answer took.
public struct Measured: Equatable, Sendable {
    public let stages: [StageTime]
    public let firstTokenMs: Double
    public let totalMs: Double
    public let tokens: Int
    public let tokensPerSecond: Double?
    public let prefilledTokens: Int
    public var peakBytes: Int?

    public init(
        stages: [StageTime], firstTokenMs: Double, totalMs: Double, tokens: Int, tokensPerSecond: Double?,
        prefilledTokens: Int, peakBytes: Int? = nil
    ) {
        (self.stages, self.firstTokenMs, self.totalMs, self.tokens) = (stages, firstTokenMs, totalMs, tokens)
        (self.tokensPerSecond, self.prefilledTokens, self.peakBytes) = (tokensPerSecond, prefilledTokens, peakBytes)
    }
}

/// How far an answer is.
public enum Phase: Equatable, Sendable {
    case waiting
    case streaming
    /// `isCut` says that the answer had no room for more tokens.
    case done(isCut: Bool)
    case stopped
    case failed(Problem)
}

public struct Answer: Equatable, Sendable {
    public let isPruned: Bool
    public internal(set) var text = ""
    public internal(set) var phase = Phase.waiting
    public internal(set) var measured: Measured?

    init(isPruned: Bool) { self.isPruned = isPruned }

    var isOpen: Bool { phase == .waiting || phase == .streaming }
}

/// A question and its answers: one, or one in each mode.
public struct Turn: Identifiable, Equatable, Sendable {
    public let id: UUID
    public let question: String
    public internal(set) var answers: [Answer]

    init(id: UUID = UUID(), question: String, runs: [Bool]) {
        self.id = id
        self.question = question
        answers = runs.map(Answer.init)
    }

    /// By how many seconds the first word came sooner with pruning; nil while it is not known.
    public var savedSeconds: Double? {
        guard let pruned = answers.first(where: \.isPruned)?.measured,
            let unpruned = answers.first(where: { !$0.isPruned })?.measured
        else { return nil }
        return (unpruned.firstTokenMs - pruned.firstTokenMs) / 1000
    }
}
