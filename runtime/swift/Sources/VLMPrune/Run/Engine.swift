/// Runs the stages of a bundle. The caches of decoder stages are the engine's, so one sequence runs at a time.
public protocol Engine: Sendable {
    /// The name and version of the runtime below, as a benchmark record has them.
    var runtime: EngineRuntime { get }

    /// The most tokens that a sequence may have, prompt and answer together.
    var contextTokens: Int { get }

    /// Returns the outputs of a stage by name; `grid` is the index of the grid that the inputs of a view have.
    func run(_ stage: String, inputs: [String: Tensor], grid: Int) async throws -> [String: Tensor]
}

/// The runtime that runs the graphs; `unit` is "cpu", "gpu", "npu" or the vendor's own word, or
/// one per stage.
public struct EngineRuntime: Sendable, Equatable {
    public let name: String
    public let version: String?
    public let unit: String

    public init(name: String, version: String?, unit: String = "cpu") {
        self.name = name
        self.version = version
        self.unit = unit
    }
}

extension Stage {
    /// Returns how many tokens a call brings, and how many the stage's cache holds before it; (1, 0) without tokens.
    public func rowsAndPast(_ inputs: [String: Tensor]) -> (rows: Int, past: Int) {
        var (rows, past) = (1, 0)
        for input in self.inputs {
            guard let tensor = inputs[input.tensor.name] else { continue }
            if let axis = input.tensor.shape.firstIndex(of: .tokens), axis < tensor.shape.count {
                rows = tensor.shape[axis]
            }
            if input.source == InputSource(stage: "sequence", tensor: "past_tokens", part: nil),
                case .integers(let values) = tensor
            {
                past = values.values.first ?? 0
            }
        }
        return (rows, past)
    }
}
