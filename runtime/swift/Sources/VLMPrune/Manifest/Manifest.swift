/// One shape of picture that the vision stage takes, and what each cut leaves of its visual tokens.
public struct Grid: Sendable, Equatable {
    public let height: Int
    public let width: Int
    public let heightPx: Int
    public let widthPx: Int
    /// Tokens before those of the grid that belong to no place in the picture, and are never pruned.
    public let prefixTokens: Int
    public let keep: [Int]
    public let meanVisualTokens: Double
    public let visionFlops: Int?

    /// The tokens of one view that a cut may drop.
    public var visualTokens: Int { height * width }

    /// All tokens that one view has in a prompt.
    public var viewTokens: Int { prefixTokens + visualTokens }

    /// The tokens of one view that the last decoder layers see.
    public var keptTokens: Int { keep.last ?? visualTokens }
}

/// Tiles that the cuts prune together: all `rows` x `columns` tiles of a picture, each on the grid `grid`.
public struct Mosaic: Sendable, Equatable {
    public let rows: Int
    public let columns: Int
    public let grid: Int
}

public enum Place: String, Sendable, CaseIterable { case vision, input, layer }

/// A place where visual tokens are dropped, and the prune stage that chooses them.
public struct Cut: Sendable, Equatable {
    public let stage: String
    public let at: Place
    public let layer: Int
}

/// How positions are counted: on 1 axis, or, visual tokens by the row and column of their grid, on 3.
public struct PositionRule: Sendable, Equatable {
    public let axes: Int
    public let byGrid: Bool
}

/// What a run takes in bytes, so that a device can refuse a bundle before it loads it.
public struct MemoryEstimate: Sendable, Equatable {
    public let weightsBytes: Int
    public let kvCacheBytes: Int
    public let activationsBytes: Int
    public let peakBytes: Int
}

/// The dimensions of the language model.
public struct TextModel: Sendable, Equatable {
    public let layers: Int
    public let hiddenSize: Int
    public let intermediateSize: Int
    public let attentionHeads: Int
    public let kvHeads: Int
    public let headDim: Int
    public let vocabSize: Int
}

public struct FileEntry: Sendable, Equatable {
    public let name: String
    public let sizeBytes: Int
    public let sha256: String
}

public enum Target: String, Sendable, CaseIterable { case onnx, executorch, coreml }

/// Where the weights came from.
public struct Source: Sendable, Equatable {
    public let model: String
    public let revision: String?
    public let sha256: String?
}

/// The manifest of a bundle: all that a runner needs to know of it.
public struct Manifest: Sendable {
    public static let fileName = "bundle.json"
    public static let major = 2
    public static let minor = 3

    public let name: String
    public let modelType: String
    public let target: Target
    public let source: Source
    public let quantisation: Quantisation
    public let grids: [Grid]
    public let mosaics: [Mosaic]
    public let cuts: [Cut]
    public let positions: PositionRule
    public let stages: [String: Stage]
    public let prefill: [String]
    public let decode: [String]
    public let tokenizer: String
    public let image: ImageSpec
    public let prunedImage: ImageSpec?
    public let prompt: PromptSpec
    public let generation: GenerationSpec
    public let prunerMethod: String
    public let textModel: TextModel
    public let contextTokens: Int
    public let memory: MemoryEstimate
    public let versions: [String: String]
    public let files: [FileEntry]

    /// Returns the stage of that name. Throws `BadRequest`.
    public func stage(_ name: String) throws -> Stage {
        guard let stage = stages[name] else {
            throw BadRequest("unknown stage \(shortRepr(name)); choose one of: \(commaList(stages.keys.sorted()))")
        }
        return stage
    }

    /// Returns the names of the stages of a role, in the order in which a prompt runs through them.
    public func stages(of role: Role) -> [String] { prefill.filter { stages[$0]?.role == role } }

    /// Returns the steps that prepare pictures in the pruned or the unpruned mode.
    public func imageSteps(prune: Bool) -> ImageSpec { prune ? prunedImage ?? image : image }

    /// Returns the index of the grid of a view of that size. Throws `BadRequest` if no grid has it.
    public func gridIndex(heightPx: Int, widthPx: Int) throws -> Int {
        if let index = grids.firstIndex(where: { $0.heightPx == heightPx && $0.widthPx == widthPx }) { return index }
        let allowed = grids.map { "\($0.heightPx) x \($0.widthPx)" }
        throw BadRequest("the image becomes \(heightPx) x \(widthPx) px; allowed: \(commaList(allowed))")
    }

    /// Returns the index, behind those of the grids, of the mosaic of so many tiles. Throws `BadRequest` if there is none.
    func mosaicIndex(rows: Int, columns: Int) throws -> Int {
        if let index = mosaics.firstIndex(where: { $0.rows == rows && $0.columns == columns }) {
            return grids.count + index
        }
        let allowed = mosaics.map { "\($0.rows) x \($0.columns)" }
        throw BadRequest("the image becomes \(rows) x \(columns) tiles; allowed: \(commaList(allowed))")
    }

    /// Returns the stages that a prompt needs, in the order in which it runs through them.
    ///
    /// Unpruned it needs no prune stage. Pruned it needs no vision stage if the first cut stands right behind it and no
    /// stage reads what it gives: then every row of `features` would be dropped or replaced.
    public func stagesOfPrompt(prune: Bool) -> [String] {
        guard prune else { return prefill.filter { stages[$0]?.role != .prune } }
        let vision = stages(of: .vision)[0]
        let isRead = stages.values.contains { $0.inputs.contains { $0.source.stage == vision } }
        let isReplaced = cuts.first?.at == .vision && !isRead
        return prefill.filter { !(isReplaced && $0 == vision) }
    }

    /// The first decoder layer that sees the pruned sequence only.
    public var layer: Int { cuts.last?.layer ?? 0 }

    /// The smallest grid's index: the least room that a view takes in a prompt.
    var smallestGrid: Int { grids.indices.min { grids[$0].viewTokens < grids[$1].viewTokens } ?? 0 }
}
