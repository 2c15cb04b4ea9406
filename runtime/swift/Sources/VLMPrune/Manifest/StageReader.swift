func readStage(_ field: Field) throws -> Stage {
    try field.record { record in
        try readLowering(record.optional("lowering"))
        let stage = Stage(
            role: try record.required("role").choice(),
            inputs: try record.required("inputs").list(readInput),
            outputs: try record.required("outputs").list { try $0.record(readTensor) },
            graphs: try record.given("graphs")?.list(readGraph) ?? [],
            data: try record.given("data")?.list { try $0.listedName() } ?? [],
            cache: try record.optional("cache").map(readCache),
            quantisation: try record.given("quantisation")?.choice() ?? .none,
            computeUnits: try record.optional("compute_units")?.choice(),
            computeUnitsReason: try record.optional("compute_units_reason")?.text()
        )
        try checkStage(stage, field)
        return stage
    }
}

private func readInput(_ field: Field) throws -> InputSpec {
    try field.record { record in
        InputSpec(
            tensor: try readTensor(record),
            source: try readInputSource(record.required("source")),
            padding: try record.optional("pad")?.choice()
        )
    }
}

private func readTensor(_ record: Record) throws -> TensorSpec {
    let shape = try record.required("shape").list(readDimension)
    return TensorSpec(
        name: try record.required("name").plainWord(),
        dtype: try record.required("dtype").choice(),
        shape: shape,
        graphShape: try record.optional("graph_shape")?.list(readDimension) ?? shape
    )
}

private func readDimension(_ field: Field) throws -> Dimension {
    switch field.value {
    case .text("tokens"): .tokens
    case .text("text_tokens"): .textTokens
    default: .fixed(try field.integer())
    }
}

private let runnerSources: Set<String> = [
    "image.pixels", "prompt.token_ids", "sequence.rows", "sequence.positions", "sequence.past_tokens",
    "sequence.last_row", "sequence.deepstack", "sequence.views", "sequence.places[visual]", "sequence.places[text]",
    "sequence.places[last]",
]

private func readInputSource(_ field: Field) throws -> InputSource {
    let text = try field.text()
    let expected = "a source such as sequence.rows or head.keys[visual]"
    let (stage, rest) = cut(text, at: ".")
    let (tensor, bracket) = cut(rest ?? "", at: "[")
    let part = Part.allCases.first { "\($0.rawValue)]" == bracket }
    let isOutput = !["image", "prompt", "sequence"].contains(stage) && isLowerWord(stage) && isLowerWord(tensor)
    guard runnerSources.contains(text) || (isOutput && (part != nil) == (bracket != nil)) else {
        throw field.refused(expected)
    }
    return InputSource(stage: stage, tensor: tensor, part: part)
}

/// Returns what stands before and behind the first occurrence of a letter, nil behind it if there is none.
private func cut(_ text: String, at letter: Character) -> (String, String?) {
    guard let place = text.firstIndex(of: letter) else { return (text, nil) }
    return (String(text[..<place]), String(text[text.index(after: place)...]))
}

private func isLowerWord(_ text: String) -> Bool {
    guard let first = text.utf8.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first) else { return false }
    return text.utf8.allSatisfy {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
            || $0 == UInt8(ascii: "_")
    }
}

private func readGraph(_ field: Field) throws -> Graph {
    try field.record { record in
        Graph(
            file: try record.required("file").fileName(),
            entry: try record.optional("entry")?.plainWord(),
            phase: try record.given("phase")?.choice() ?? .any,
            tokens: try record.optional("tokens")?.integer(),
            textTokens: try record.optional("text_tokens")?.integer(),
            grid: try record.optional("grid")?.count(),
            inputs: try record.optional("inputs")?.list { try $0.plainWord() }
        )
    }
}

private func readCache(_ field: Field) throws -> Cache {
    try field.record { record in
        let cache = Cache(
            owner: try record.required("owner").choice(),
            layers: try record.required("layers").list(readCacheLayer),
            kvHeads: try record.required("kv_heads").integer(),
            headDim: try record.required("head_dim").integer(),
            dtype: try record.required("dtype").choice(),
            layout: try record.required("layout").list { try $0.choice() },
            capacityTokens: try record.optional("capacity_tokens")?.integer(),
            inputs: try record.given("inputs")?.list { try $0.text() } ?? [],
            outputs: try record.given("outputs")?.list { try $0.text() } ?? [],
            states: try record.given("states")?.list { try $0.plainWord() } ?? []
        )
        try checkCache(cache, field)
        return cache
    }
}

private func readCacheLayer(_ field: Field) throws -> CacheLayer {
    try field.record { record in
        CacheLayer(
            layer: try record.required("layer").count(),
            kind: try record.given("kind")?.choice() ?? .full,
            windowTokens: try record.optional("window_tokens")?.integer()
        )
    }
}

private enum LoweringStatus: String, CaseIterable {
    case runnable
    case notRun = "lowered, not run"
}

/// Reads how a stage was lowered, of which a runner needs nothing.
private func readLowering(_ field: Field?) throws {
    try field?.record { record in
        _ = try record.required("backend").text()
        _ = try record.required("delegates").list { try $0.text() }
        _ = try record.required("delegated_fraction").number { (0...1).contains($0) }
        _ = try record.required("operators").list { try $0.text() }
        _ = try record.required("status").choice(of: LoweringStatus.self)
        _ = try record.given("float_weights")?.list { weights in
            try weights.record { entry in
                _ = [try entry.required("operator").text(), try entry.required("reason").text()]
                _ = [
                    try entry.required("weights").integer(1...Int.max),
                    try entry.required("size_bytes").integer(1...Int.max),
                ]
            }
        }
    }
}

private func checkCache(_ cache: Cache, _ field: Field) throws {
    guard !cache.layers.isEmpty else { throw field.broken("a cache needs a layer") }
    let tensors = cache.owner == .caller ? 2 * cache.layers.count : 0
    for names in [cache.inputs, cache.outputs] where names.count != tensors || Set(names).count != tensors {
        throw field.broken("owner \(cache.owner.rawValue) needs \(tensors) distinct names of inputs and of outputs")
    }
    let states = cache.owner == .state ? 2 : 0
    guard cache.states.count == states, Set(cache.states).count == states else {
        throw field.broken("owner state needs two distinct states, any other none")
    }
    if cache.owner != .caller, cache.capacityTokens == nil {
        throw field.broken("owner \(cache.owner.rawValue) needs capacity_tokens")
    }
}

private func checkStage(_ stage: Stage, _ field: Field) throws {
    for graph in stage.graphs where isPackage(graph.file) && !stage.data.contains("\(graph.file)/Manifest.json") {
        throw field.broken("data has no \(graph.file)/Manifest.json")
    }
    for names in [stage.inputs.map(\.tensor.name), stage.outputs.map(\.name)] where Set(names).count < names.count {
        throw field.broken("two tensors of one side have one name")
    }
    let inputs = Set(stage.inputs.map(\.tensor.name))
    for name in stage.graphs.flatMap({ $0.inputs ?? [] }) where !inputs.contains(name) {
        throw field.broken("a graph takes \(shortRepr(name)), which is no input of the stage")
    }
    try checkRole(stage, field)
}

private func checkRole(_ stage: Stage, _ field: Field) throws {
    let required: [Role: [String]] = [
        .vision: ["features"], .embed: ["embeddings"], .prune: ["kept", "fused", "rank"],
    ]
    for name in required[stage.role] ?? [] where stage.output(name) == nil {
        throw field.broken("role \(stage.role.rawValue) needs the output \(shortRepr(name))")
    }
    if stage.role == .decoder, stage.output("hidden") == nil, stage.output("logits") == nil {
        throw field.broken("role decoder needs the output 'hidden' or 'logits'")
    }
    guard (stage.role == .decoder) == (stage.cache != nil) else {
        throw field.broken("a decoder has a cache, any other stage has none")
    }
}
