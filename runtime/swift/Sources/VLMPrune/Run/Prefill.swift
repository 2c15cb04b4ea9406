/// What a cut kept of one view: places among the view's tokens at that cut, their order, and their cells on the grid.
struct Selection: Sendable, Equatable {
    let kept: [Int]
    let rank: [Int]
    let cells: [Int]
    let view: Int
    let cut: String
}

/// Where generation stands after a prompt or a token.
struct State: Sendable {
    let logits: [Float]
    /// How many tokens the cache of each decoder stage holds.
    var pastTokens: [String: Int]
    var nextPosition: Int
    var selections: [Selection] = []
    /// How many views the sequence has.
    var views = 0

    /// Says whether a context has no room for one more token: no row in the fullest cache, or no position.
    func fills(_ contextTokens: Int) -> Bool { max(nextPosition, pastTokens.values.max() ?? 0) >= contextTokens }

    /// Returns the state before the last so many tokens of text, whose cached rows the next tokens overwrite.
    func rewound(by tokens: Int) -> State {
        var state = self
        state.pastTokens = pastTokens.mapValues { $0 - tokens }
        state.nextPosition -= tokens
        return state
    }
}

/// Receives the time of each call of a stage; an error of it ends the prefill.
typealias StageClock = (_ stage: String, _ ms: Double) throws -> Void

/// Carries a sequence through the stages, driven by the manifest: the source of each input says what a stage takes.
struct Prefill {
    private let manifest: Manifest
    private let engine: any Engine
    private var tokens: Tokens
    private let views: [FloatTensor]
    private let spans: [Span]
    private let earlier: State?
    private var pastTokens: [String: Int]
    private var selections: [Selection]
    private var rows: FloatTensor?
    private var isFilled = false
    /// The outputs of each stage so far, of stages that run per view those of each view.
    private var outputs: [String: [[String: Tensor]]] = [:]
    /// The sequence that a stage ran on.
    private var stageTokens: [String: Tokens] = [:]

    /// Puts a prompt before the first stage, with the pixels (1, 3, H, W) of each view; `earlier` is the state behind
    /// which it goes on. Throws `BadRequest` if it has another number of places for views.
    init(
        _ manifest: Manifest, _ engine: any Engine, _ prompt: EncodedPrompt, views: [FloatTensor],
        behind earlier: State? = nil
    ) throws {
        guard views.count == prompt.spans.count else {
            throw BadRequest("got \(views.count) images, the prompt has places for \(prompt.spans.count)")
        }
        let tokens = try Tokens(manifest, prompt, from: earlier?.nextPosition ?? 0)
        self.init(manifest, engine, tokens, views: views, spans: prompt.spans, behind: earlier)
    }

    private init(
        _ manifest: Manifest, _ engine: any Engine, _ tokens: Tokens, views: [FloatTensor] = [], spans: [Span] = [],
        behind earlier: State?
    ) {
        self.manifest = manifest
        self.engine = engine
        self.tokens = tokens
        self.views = views
        self.spans = spans
        self.earlier = earlier
        pastTokens = earlier?.pastTokens ?? [:]
        selections = earlier?.selections ?? []
    }

    /// Runs all stages of a prompt and returns the state after the last.
    mutating func run(prune: Bool, clock: StageClock = { _, _ in }) async throws -> State {
        try await run(manifest.stagesOfPrompt(prune: prune), clock)
    }

    /// Returns the state after more text behind what the caches hold.
    static func extend(
        _ manifest: Manifest, _ engine: any Engine, _ tokenIds: [Int], behind state: State
    ) async throws -> State {
        let tokens = Tokens(manifest.positions, text: tokenIds, from: state.nextPosition)
        var prefill = Prefill(manifest, engine, tokens, behind: state)
        return try await prefill.run(manifest.decode, { _, _ in })
    }

    private mutating func run(_ stages: [String], _ clock: StageClock) async throws -> State {
        for name in stages { try await run(name, clock) }
        let logits = try floats(stages.last ?? "", outputs[stages.last ?? ""]?.first?["logits"])
        return State(
            logits: logits.values, pastTokens: pastTokens, nextPosition: tokens.nextPosition, selections: selections,
            views: (earlier?.views ?? 0) + views.count)
    }

    private mutating func run(_ name: String, _ clock: StageClock) async throws {
        let role = try manifest.stage(name).role
        if role == .vision || role == .prune {
            try await runViews(name, role, clock)
        } else {
            stageTokens[name] = tokens
            outputs[name] = [
                try await call(name, try inputs(of: name, for: PruneGroup(views: [], grid: 0)), grid: 0, clock)
            ]
        }
        if role == .embed { rows = try floats(name, outputs[name]?.first?["embeddings"]) }
        if role == .decoder {
            pastTokens[name, default: 0] += tokens.count
            rows = try outputs[name]?.first?["hidden"].map { try floats(name, $0) }
        }
        try placeFeatures()
    }

    /// Runs a stage once per view, or per group of views; all inputs are read before any view is pruned.
    private mutating func runViews(_ name: String, _ role: Role, _ clock: StageClock) async throws {
        let everyView = tokens.grids.enumerated().map { PruneGroup(views: [$0.offset], grid: $0.element) }
        let groups = role == .prune ? tokens.groups : everyView
        let inputs = try groups.map { try self.inputs(of: name, for: $0) }
        var given: [[String: Tensor]] = []
        for (group, tensors) in zip(groups, inputs) {
            given.append(try await call(name, tensors, grid: group.grid, clock))
        }
        outputs[name] = given
        guard role == .prune else { return }
        for (group, pruned) in zip(groups, given) { try prune(name, group, pruned) }
    }

    private func call(
        _ name: String, _ inputs: [String: Tensor], grid: Int, _ clock: StageClock
    ) async throws -> [String: Tensor] {
        try Task.checkCancellation()
        let start = ContinuousClock.now
        let outputs = try await engine.run(name, inputs: inputs, grid: grid)
        try clock(name, milliseconds(since: start))
        return outputs
    }

    /// Puts the visual embeddings in their places once both they and those of text are there.
    private mutating func placeFeatures() throws {
        let vision = manifest.stages(of: .vision)[0]
        guard !isFilled, let features = outputs[vision], var filled = rows else { return }
        for (view, span) in spans.enumerated() {
            let view = try floats(vision, features[view]["features"])
            for place in span.start..<span.stop { filled.setRow(place, view.row(place - span.start)) }
        }
        rows = filled
        isFilled = true
    }

    /// Drops the tokens of views that a cut did not keep, and replaces the rows of the others.
    private mutating func prune(_ name: String, _ group: PruneGroup, _ pruned: [String: Tensor]) throws {
        let places = tokens.places(of: group)
        let kept = try counted(name, pruned)
        try checkKept(name, kept, places.count)
        let fused = try floats(name, pruned["fused"])
        guard var before = rows else { throw EngineError(stage: name, "there are no rows to prune") }
        for (nth, index) in kept.enumerated() { before.setRow(places[index], fused.row(nth)) }
        let dropped = Set(places).subtracting(kept.map { places[$0] })
        let remaining = (0..<tokens.count).filter { !dropped.contains($0) }
        selections += selected(name, group, places, kept, try integers(name, pruned["rank"]))
        rows = before.rows(remaining)
        tokens = tokens.selected(remaining)
    }

    /// Returns what is kept of each view of a group, whose tokens stand at `places` before the cut.
    private func selected(
        _ name: String, _ group: PruneGroup, _ places: [Int], _ kept: [Int], _ rank: [Int]
    ) -> [Selection] {
        var start = 0
        return group.views.map { view in
            let mine = kept.indices.filter { tokens.owners[places[kept[$0]]] == .view(view) }
            defer { start += places.count(where: { tokens.owners[$0] == .view(view) }) }
            return Selection(
                kept: mine.map { kept[$0] - start }, rank: mine.map { rank[$0] },
                cells: mine.map { tokens.cells[places[kept[$0]]] }, view: (earlier?.views ?? 0) + view, cut: name)
        }
    }

    private func inputs(of name: String, for group: PruneGroup) throws -> [String: Tensor] {
        let inputs = try manifest.stage(name).inputs.map { ($0.tensor.name, try read($0.source, for: name, group)) }
        return Dictionary(uniqueKeysWithValues: inputs)
    }

    /// Returns the value of a source for a stage, which runs for the views of a group.
    private func read(_ source: InputSource, for name: String, _ group: PruneGroup) throws -> Tensor {
        switch (source.stage, source.tensor) {
        case ("image", _): return .floats(views[group.views.first ?? 0])
        case ("prompt", _): return .integers(IntegerTensor(tokens.tokenIds))
        case ("sequence", "rows"):
            guard let rows else { throw EngineError(stage: name, "there are no rows yet") }
            return .floats(rows)
        case ("sequence", "positions"):
            let shape = tokens.positions.count == 1 ? [tokens.count] : [tokens.positions.count, tokens.count]
            return .integers(IntegerTensor(shape: shape, values: tokens.positions.flatMap { $0 }))
        case ("sequence", "places"): return .integers(IntegerTensor(places(source.part, tokens, group)))
        case ("sequence", "views"): return .integers(IntegerTensor(tokens.owners.map(\.number)))
        case ("sequence", "deepstack"): return .floats(try deepstack(name))
        case ("sequence", "past_tokens"): return .integers(IntegerTensor([pastTokens[name] ?? 0]))
        case ("sequence", _): return .integers(IntegerTensor([tokens.count - 1]))
        default: return try stageOutput(source, for: name, group)
        }
    }

    private func stageOutput(_ source: InputSource, for name: String, _ group: PruneGroup) throws -> Tensor {
        let given = outputs[source.stage] ?? []
        if let before = stageTokens[source.stage] {
            guard let whole = given.first?[source.tensor] else { throw missing(source, name) }
            return source.part == nil ? whole : whole.rows(places(source.part, before, group))
        }
        let isPruned = try manifest.stage(source.stage).role == .prune
        let calls = isPruned ? tokens.groups.indices.filter { tokens.groups[$0] == group } : group.views
        let parts = calls.compactMap { $0 < given.count ? given[$0][source.tensor] : nil }
        guard let first = parts.first, parts.count == calls.count else { throw missing(source, name) }
        return parts.count == 1 ? first : .floats(try floats(source.stage, parts))
    }

    private func missing(_ source: InputSource, _ name: String) -> EngineError {
        EngineError(stage: name, "\(source.stage).\(source.tensor) is not there")
    }

    /// Returns where the rows of a part stand in a sequence.
    private func places(_ part: Part?, _ tokens: Tokens, _ group: PruneGroup) -> [Int] {
        switch part {
        case .visual: tokens.places(of: group)
        case .text: tokens.places(of: .text)
        case .last: [tokens.count - 1]
        case nil: Array(0..<tokens.count)
        }
    }

    /// Returns what is added to hidden states of the tokens that are left (S, layers, D): the rows of visual ones, and zeros.
    private func deepstack(_ name: String) throws -> FloatTensor {
        let vision = manifest.stages(of: .vision)[0]
        guard let declared = try manifest.stage(vision).output("deepstack") else {
            throw EngineError(stage: name, "takes sequence.deepstack, which the vision stage does not give")
        }
        let sizes = declared.shape.dropFirst().map { if case .fixed(let size) = $0 { size } else { 1 } }
        let zeros = [Float](repeating: 0, count: tokens.count * sizes.reduce(1, *))
        var rows = FloatTensor(shape: [tokens.count] + sizes, values: zeros)
        for (view, output) in (outputs[vision] ?? []).enumerated() {
            let added = try floats(vision, output["deepstack"])
            for place in tokens.places(of: .view(view)) { rows.setRow(place, added.row(tokens.cells[place])) }
        }
        return rows
    }
}

/// Returns the milliseconds since a moment.
func milliseconds(since start: ContinuousClock.Instant) -> Double {
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return Double(seconds) * 1e3 + Double(attoseconds) / 1e15
}

private func floats(_ stage: String, _ tensor: Tensor?) throws -> FloatTensor {
    guard case .floats(let floats) = tensor else {
        throw EngineError(stage: stage, "an output is not there, or no floats")
    }
    return floats
}

/// Returns the rows of tensors one behind the other.
private func floats(_ stage: String, _ tensors: [Tensor]) throws -> FloatTensor {
    let parts = try tensors.map { try floats(stage, $0) }
    let rows = parts.reduce(0) { $0 + ($1.shape.first ?? 0) }
    return FloatTensor(shape: [rows] + parts[0].shape.dropFirst(), values: parts.flatMap(\.values))
}

private func integers(_ stage: String, _ tensor: Tensor?) throws -> [Int] {
    guard case .integers(let integers) = tensor else {
        throw EngineError(stage: stage, "an output is not there, or no whole numbers")
    }
    return integers.values
}

/// Returns what a prune stage kept, without padding: it may keep fewer tokens than it has rows for.
private func counted(_ stage: String, _ pruned: [String: Tensor]) throws -> [Int] {
    let kept = try integers(stage, pruned["kept"])
    guard pruned["count"] != nil else { return kept }
    let count = try integers(stage, pruned["count"]).first ?? 0
    guard count >= 1, count <= kept.count else {
        throw EngineError(stage: stage, "count is \(count); allowed: 1 to \(kept.count)")
    }
    return Array(kept.prefix(count))
}

private func checkKept(_ stage: String, _ kept: [Int], _ visualTokens: Int) throws {
    let isRising = zip(kept, kept.dropFirst()).allSatisfy { $0 < $1 }
    guard isRising, let first = kept.first, let last = kept.last, first >= 0, last < visualTokens else {
        throw EngineError(stage: stage, "kept is not a rising list of places below \(visualTokens)")
    }
}
