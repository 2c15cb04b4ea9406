/// Chooses the graph of a fixed length that runs a call, pads its inputs and removes the padding of its outputs.
///
/// Attention is causal, so padding changes no real row, and later tokens overwrite what it left in a cache.
struct FixedLengths: Sendable {
    let name: String
    let stage: Stage

    /// Returns the shortest graph that the tokens fit. Throws `BadRequest` if none does.
    ///
    /// Tokens behind others take a graph for decoding; a stage with a cache starts with a prefill.
    func graph(for inputs: [String: Tensor], grid: Int) throws -> Graph {
        let (rows, past) = stage.rowsAndPast(inputs)
        let texts = textRows(inputs)
        let graphs = stage.graphs.filter { $0.grid == nil || $0.grid == grid }
        let fitting = graphs.filter { stage.cache == nil || $0.phase != (past > 0 ? .prefill : .decode) }
        guard !fitting.isEmpty else { throw EngineError(stage: name, "no graph decodes a token behind others") }
        let enough = fitting.filter { ($0.tokens ?? rows) >= rows && ($0.textTokens ?? texts) >= texts }
        let shortest = enough.min {
            ($0.tokens ?? rows, $0.textTokens ?? texts) < ($1.tokens ?? rows, $1.textTokens ?? texts)
        }
        guard let shortest else {
            let isByTokens = fitting.contains { $0.tokens != nil }
            let lengths = fitting.map { $0.tokens ?? $0.textTokens ?? rows }.sorted().map(String.init)
            let got = isByTokens ? "\(rows) tokens" : "\(texts) text tokens"
            throw BadRequest("\(name): \(got) fit no function; it has room for: \(commaList(lengths))")
        }
        return shortest
    }

    /// Returns the inputs that a graph takes, in its shapes, padded at their ends.
    func padded(_ inputs: [String: Tensor], for graph: Graph) throws -> [(spec: TensorSpec, tensor: Tensor)] {
        try stage.inputs.filter { graph.inputs?.contains($0.tensor.name) ?? true }.map { input in
            guard let tensor = inputs[input.tensor.name] else {
                throw EngineError(stage: name, "no \(input.tensor.name)")
            }
            return (input.tensor, try padded(tensor, input, graph))
        }
    }

    /// Returns an output in its declared shape: without leading ones, and without the rows of padding.
    func unpadded(_ tensor: Tensor, _ spec: TensorSpec, rows: Int) -> Tensor {
        let shape = Array(tensor.shape.suffix(spec.shape.count))
        let whole = tensor.reshaped(to: shape)
        guard spec.shape.first == .tokens, let count = shape.first, count > rows else { return whole }
        return whole.rows(Array(0..<rows))
    }

    /// How many tokens behind others a call takes.
    var longestBehind: Int { stage.graphs.filter { $0.phase == .decode }.map { $0.tokens ?? 1 }.max() ?? 1 }

    /// Returns the inputs of a call with some of several tokens alone.
    func part(_ rows: Range<Int>, of inputs: [String: Tensor], past: Int) -> [String: Tensor] {
        var part = inputs
        for input in stage.inputs {
            let name = input.tensor.name
            if input.source.tensor == "past_tokens" {
                part[name] = .integers(IntegerTensor([past + rows.lowerBound]))
            } else if input.source.tensor == "last_row" {
                part[name] = .integers(IntegerTensor([rows.count - 1]))
            } else if let axis = input.tensor.shape.firstIndex(of: .tokens) {
                part[name] = inputs[name]?.sliced(axis: axis, rows)
            }
        }
        return part
    }

    /// Returns the outputs of calls with some tokens each as those of one call.
    func joined(_ parts: [[String: Tensor]]) -> [String: Tensor] {
        var joined = parts.last ?? [:]
        for spec in stage.outputs where spec.shape.first == .tokens {
            let rows = parts.compactMap { part in
                part[spec.name].flatMap { if case .floats(let rows) = $0 { rows } else { nil } }
            }
            guard let first = rows.first else { continue }
            let shape = [rows.map { $0.shape[0] }.reduce(0, +)] + first.shape.dropFirst()
            joined[spec.name] = .floats(FloatTensor(shape: shape, values: rows.flatMap(\.values)))
        }
        return joined
    }

    private func textRows(_ inputs: [String: Tensor]) -> Int {
        stage.inputs.compactMap { input in
            input.tensor.shape.firstIndex(of: .textTokens).flatMap { inputs[input.tensor.name]?.shape[$0] }
        }.max() ?? 0
    }

    private func padded(_ tensor: Tensor, _ input: InputSpec, _ graph: Graph) throws -> Tensor {
        let shape = input.tensor.shape
        guard let axis = shape.firstIndex(where: { $0 == .tokens || $0 == .textTokens }) else { return tensor }
        guard let length = shape[axis] == .tokens ? graph.tokens : graph.textTokens, length > tensor.shape[axis] else {
            return tensor
        }
        guard axis < tensor.shape.count, tensor.shape[axis] > 0 || input.padding != .last else {
            throw EngineError(stage: name, "\(input.tensor.name) has nothing to pad with")
        }
        return tensor.padded(axis: axis, to: length, repeatsLast: input.padding == .last)
    }
}

extension Tensor {
    func reshaped(to shape: [Int]) -> Tensor {
        switch self {
        case .floats(let tensor): .floats(FloatTensor(shape: shape, values: tensor.values))
        case .integers(let tensor): .integers(IntegerTensor(shape: shape, values: tensor.values))
        }
    }

    func padded(axis: Int, to length: Int, repeatsLast: Bool) -> Tensor {
        let shape = self.shape.replaced(axis, by: length)
        switch self {
        case .floats(let tensor):
            let values = lengthened(tensor.values, tensor.shape, axis, length, zero: 0, repeatsLast)
            return .floats(FloatTensor(shape: shape, values: values))
        case .integers(let tensor):
            let values = lengthened(tensor.values, tensor.shape, axis, length, zero: 0, repeatsLast)
            return .integers(IntegerTensor(shape: shape, values: values))
        }
    }

    func sliced(axis: Int, _ range: Range<Int>) -> Tensor {
        let shape = self.shape.replaced(axis, by: range.count)
        switch self {
        case .floats(let tensor):
            return .floats(FloatTensor(shape: shape, values: part(of: tensor.values, tensor.shape, axis, range)))
        case .integers(let tensor):
            return .integers(IntegerTensor(shape: shape, values: part(of: tensor.values, tensor.shape, axis, range)))
        }
    }
}

extension [Int] {
    fileprivate func replaced(_ axis: Int, by size: Int) -> [Int] {
        var shape = self
        shape[axis] = size
        return shape
    }
}

/// Returns the values of a tensor with one axis made longer.
private func lengthened<Value>(
    _ values: [Value], _ shape: [Int], _ axis: Int, _ length: Int, zero: Value, _ repeatsLast: Bool
) -> [Value] {
    let inner = shape[(axis + 1)...].reduce(1, *)
    let block = shape[axis] * inner
    var out: [Value] = []
    for start in stride(from: 0, to: max(values.count, 1), by: max(block, 1)) {
        let part = values[start..<min(start + block, values.count)]
        out += part
        let last = repeatsLast ? Array(part.suffix(inner)) : [Value](repeating: zero, count: inner)
        for _ in shape[axis]..<length { out += last }
    }
    return out
}

private func part<Value>(of values: [Value], _ shape: [Int], _ axis: Int, _ range: Range<Int>) -> [Value] {
    let inner = shape[(axis + 1)...].reduce(1, *)
    let block = shape[axis] * inner
    return stride(from: 0, to: values.count, by: max(block, 1)).flatMap { start in
        values[start + range.lowerBound * inner..<start + range.upperBound * inner]
    }
}
