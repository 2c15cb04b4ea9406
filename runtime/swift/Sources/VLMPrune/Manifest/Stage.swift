/// How a runner runs a stage: `vision` and `prune` once per view, others once for the sequence.
public enum Role: String, Sendable, CaseIterable { case vision, embed, decoder, prune }

/// `prefill` takes a sequence from its start, `decode` tokens behind others, `any` both.
public enum Phase: String, Sendable, CaseIterable { case prefill, decode, any }

public enum Dtype: String, Sendable, CaseIterable {
    case float32, float16, int64, int32, uint8, int8

    public var bytes: Int {
        switch self {
        case .int64: 8
        case .float32, .int32: 4
        case .float16: 2
        case .uint8, .int8: 1
        }
    }
}

/// What stands behind the real values of a graph of a fixed length.
public enum Padding: String, Sendable, CaseIterable { case zero, last }

/// Who holds a cache: the runner, the graph, or a Core ML state.
public enum CacheOwner: String, Sendable, CaseIterable { case caller, graph, state }

public enum Quantisation: String, Sendable, CaseIterable {
    case none, int8, int4, pal4
    case int8Activations8 = "8da8w"
    case int4Activations8 = "8da4w"
}

public enum ComputeUnits: String, Sendable, CaseIterable {
    case all = "ALL"
    case cpuAndNeuralEngine = "CPU_AND_NE"
    case cpuAndGPU = "CPU_AND_GPU"
    case cpuOnly = "CPU_ONLY"
}

/// A dimension of a tensor: a number, or one that depends on the call.
public enum Dimension: Sendable, Equatable {
    case fixed(Int)
    case tokens
    case textTokens
}

public enum Part: String, Sendable, CaseIterable { case visual, text, last }

/// Where an input comes from: an output of a stage, or of `image`, `prompt`, `sequence`; `part` nil stands for all rows.
public struct InputSource: Sendable, Equatable {
    public let stage: String
    public let tensor: String
    public let part: Part?

    public var isStageOutput: Bool { !["image", "prompt", "sequence"].contains(stage) }
}

/// An input or output of a stage; `graphShape` is the shape in the graph, which may have leading ones more.
public struct TensorSpec: Sendable, Equatable {
    public let name: String
    public let dtype: Dtype
    public let shape: [Dimension]
    public let graphShape: [Dimension]
}

public struct InputSpec: Sendable, Equatable {
    public let tensor: TensorSpec
    public let source: InputSource
    public let padding: Padding?
}

public enum CacheKind: String, Sendable, CaseIterable { case full, sliding, convolution }

public enum CacheAxis: String, Sendable, CaseIterable {
    case layers, batch, capacity
    case kvHeads = "kv_heads"
    case headDim = "head_dim"
}

public struct CacheLayer: Sendable, Equatable {
    public let layer: Int
    public let kind: CacheKind
    public let windowTokens: Int?
}

/// The KV cache of a decoder stage.
public struct Cache: Sendable, Equatable {
    public let owner: CacheOwner
    public let layers: [CacheLayer]
    public let kvHeads: Int
    public let headDim: Int
    public let dtype: Dtype
    public let layout: [CacheAxis]
    public let capacityTokens: Int?
    public let inputs: [String]
    public let outputs: [String]
    public let states: [String]
}

/// One graph of a stage: a file, and in it a method or function; `tokens` is its fixed length where it has one.
public struct Graph: Sendable, Equatable {
    public let file: String
    public let entry: String?
    public let phase: Phase
    public let tokens: Int?
    public let textTokens: Int?
    public let grid: Int?
    public let inputs: [String]?
}

public struct Stage: Sendable, Equatable {
    public let role: Role
    public let inputs: [InputSpec]
    public let outputs: [TensorSpec]
    public let graphs: [Graph]
    public let data: [String]
    public let cache: Cache?
    public let quantisation: Quantisation
    public let computeUnits: ComputeUnits?
    public let computeUnitsReason: String?

    /// Every file of the stage.
    var files: Set<String> { Set(graphs.map(\.file).filter { !isPackage($0) } + data) }

    public func output(_ name: String) -> TensorSpec? { outputs.first { $0.name == name } }
}
