import Synchronization

/// One question about pictures, in the order of their places in the prompt; `prune` false asks the unpruned model.
public struct Request: Sendable {
    public var pictures: [Picture]
    public var prompt: String
    public var prune: Bool
    /// The most tokens of an answer; nil is the bundle's own limit, or 32 where it has none.
    public var maxTokens: Int?
    public var sampling: Sampling

    public init(
        pictures: [Picture], prompt: String, prune: Bool = true, maxTokens: Int? = nil, sampling: Sampling = .asExported
    ) {
        self.pictures = pictures
        self.prompt = prompt
        self.prune = prune
        self.maxTokens = maxTokens
        self.sampling = sampling
    }
}

private let defaultMaxTokens = 32

/// A bundle with its engine and tokenizer. It gives one answer at a time, because the engine has one set of caches:
/// a newer question ends an answer that is still coming about.
public actor Runner {
    public nonisolated let bundle: Bundle
    public nonisolated let engine: any Engine
    nonisolated let writer: PromptWriter
    private let tokenizer: Tokenizer
    private var request: Request?
    private var conversation: Conversation?
    /// The number of the newest answer.
    nonisolated let newest = Mutex(0)
    nonisolated let gate = Gate()

    public init(_ bundle: Bundle, engine: any Engine) throws {
        self.bundle = bundle
        self.engine = engine
        tokenizer = try Tokenizer(contentsOf: bundle.path(bundle.manifest.tokenizer))
        writer = PromptWriter(bundle.manifest, tokenizer)
    }

    /// Whether there is something that a follow-up could go on with.
    public var hasConversation: Bool { conversation != nil && bundle.manifest.prompt.followUp != nil }

    /// Returns the events of an answer; leaving off reading them, or cancelling the reading task, ends it.
    public nonisolated func stream(_ request: Request) -> AsyncThrowingStream<RunEvent, any Error> {
        events { recorder in try await self.answerFirst(request, recorder) }
    }

    /// Returns the events of the answer to a further question, which goes on behind what was said last.
    ///
    /// It has the settings of the request that began the conversation. New pictures are pruned as the first ones were;
    /// of those before, the same tokens stay kept. An answer that was given up half-way counts as far as it went.
    public nonisolated func followUp(
        _ prompt: String, pictures: [Picture] = []
    ) -> AsyncThrowingStream<RunEvent, any Error> {
        events { recorder in try await self.answerFurther(prompt, pictures, recorder) }
    }

    /// Returns the result of an answer, without the events before it.
    public func answer(_ request: Request) async throws -> RunResult { try await lastResult(of: stream(request)) }

    private nonisolated func events(
        _ answer: @escaping @Sendable (Recorder) async throws -> Void
    ) -> AsyncThrowingStream<RunEvent, any Error> {
        AsyncThrowingStream { continuation in
            let recorder = Recorder(continuation)
            let task = Task {
                do {
                    try await self.alone { try await answer(recorder) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// Runs a benchmark's task once; a question that is asked meanwhile ends the benchmark.
    func aloneTimed(_ task: BenchmarkTask, prune: Bool) async throws -> TimedRun {
        conversation = nil
        return try await alone { try await self.timedRun(task, prune: prune) }
    }

    /// Waits until the answer before has ended, and lets no other begin.
    private func alone<Answer: Sendable>(_ answer: @Sendable () async throws -> Answer) async throws -> Answer {
        let mine = newest.withLock { newest in
            newest += 1
            return newest
        }
        await gate.enter()
        defer { gate.leave() }
        try checkNewest(mine)
        return try await Self.$number.withValue(mine) { try await answer() }
    }

    /// The number of the answer that the current task gives.
    @TaskLocal private static var number = 0

    private nonisolated func checkNewest(_ mine: Int) throws {
        try Task.checkCancellation()
        guard newest.withLock({ $0 == mine }) else {
            throw BadRequest("another answer was started on this runner, which ended this one")
        }
    }

    private func answerFirst(_ request: Request, _ recorder: Recorder) async throws {
        self.request = request
        conversation = nil
        _ = try encode(request.prompt, smallest(request.pictures.count))
        let pictures = try see(request.pictures, prune: request.prune)
        let places = pictures.map(\.place)
        let text = try writer.spec.rendered(request.prompt, places)
        let ids = writer.tokenize(text)
        let turn = Turn(text: text, ids: ids, pictures: places, prompt: try writer.expanded(ids, places))
        try await reply(request, turn, pictures, recorder)
    }

    private func answerFurther(_ prompt: String, _ pictures: [Picture], _ recorder: Recorder) async throws {
        guard var conversation, var request else {
            throw BadRequest("there is no conversation to go on with; ask a first question before a follow-up")
        }
        (request.prompt, request.pictures) = (prompt, pictures)
        _ = try writer.spec.renderedFollowUp(prompt, smallest(pictures.count))
        let seen = try see(pictures, prune: request.prune)
        let turn = try conversation.goOn(writer, prompt, seen.map(\.place))
        self.conversation = conversation
        try await reply(request, turn, seen, recorder)
    }

    private func reply(
        _ request: Request, _ turn: Turn, _ pictures: [SeenPicture], _ recorder: Recorder
    ) async throws {
        let manifest = bundle.manifest
        try checkRoom(turn.tokenIds.count, turn.prompt, isFurther: turn.behind != nil)
        recorder.stage("preprocess", recorder.elapsedMs)
        let earlier = turn.behind?.state
        var prefill = try Prefill(manifest, engine, turn.prompt, views: pictures.flatMap(\.pixels), behind: earlier)
        let mine = Self.number
        let state = try await prefill.run(prune: request.prune) { @Sendable stage, ms in
            recorder.stage(stage, ms)
            try self.checkNewest(mine)
        }
        conversation = Conversation(turn, state, tokenizer)
        let pruned = prunedViews(state, turn, earlierViews: earlier?.views ?? 0)
        pruned.forEach { recorder.emit(.pruned($0)) }
        let reason = try await decode(try chooser(request, turn.tokenIds), recorder)
        recorder.emit(
            .finished(
                RunResult(
                    text: conversation?.answer.text ?? "", tokenIds: conversation?.answer.tokenIds ?? [],
                    reason: reason,
                    promptTokens: turn.tokenIds.count, prefilledTokens: turn.prompt.tokenIds.count, pruned: pruned,
                    seen: seenViews(pictures, earlier: turn.earlierPictures), timings: recorder.timings)))
    }

    private func decode(_ chooser: TokenChooser, _ recorder: Recorder) async throws -> StopReason {
        var chooser = chooser
        var state = try held()
        var token = try chooser.choose(state.logits)
        recorder.firstToken()
        while !chooser.settings.stopTokenIds.contains(token) {
            recorder.text(conversation?.answer.push(token) ?? "")
            if (conversation?.answer.tokenIds.count ?? 0) >= chooser.limit || state.fills(engine.contextTokens) {
                recorder.text(conversation?.answer.finish() ?? "")
                return .length
            }
            try checkNewest(Self.number)
            let start = ContinuousClock.now
            state = try await Prefill.extend(bundle.manifest, engine, [token], behind: state)
            conversation?.held.add(token, state)
            token = try chooser.choose(state.logits)
            recorder.decoded(milliseconds(since: start))
        }
        recorder.text(conversation?.answer.finish() ?? "")
        return .stop
    }

    private func held() throws -> State {
        guard let conversation else { throw BadRequest("there is no conversation to go on with") }
        return conversation.held.state
    }

    private func chooser(_ request: Request, _ tokenIds: [Int]) throws -> TokenChooser {
        if let limit = request.maxTokens, limit < 1 { throw BadRequest("max_tokens: got \(limit), allowed: 1 or more") }
        let settings = request.sampling.applied(to: bundle.manifest.generation)
        let limit = request.maxTokens ?? settings.limit(promptTokens: tokenIds.count, otherwise: defaultMaxTokens)
        return TokenChooser(settings, sequence: tokenIds, limit: limit, seed: request.sampling.seed)
    }

    private func prunedViews(_ state: State, _ turn: Turn, earlierViews: Int) -> [Pruned] {
        let (places, grids) = (turn.prompt.viewPlaces, turn.prompt.grids)
        return state.selections.filter { $0.cut == bundle.manifest.cuts.last?.stage && $0.view >= earlierViews }.map {
            let (picture, view) = places[$0.view - earlierViews]
            return Pruned(
                kept: $0.cells, rank: $0.rank,
                visualTokens: bundle.manifest.grids[grids[$0.view - earlierViews]].visualTokens,
                picture: turn.earlierPictures + picture, view: view)
        }
    }

    private func seenViews(_ pictures: [SeenPicture], earlier: Int) -> [SeenView] {
        pictures.enumerated().flatMap { nth, picture in
            picture.views.enumerated().map { view, seen in
                let grid = bundle.manifest.grids[picture.place.grids[view]]
                return SeenView(picture: earlier + nth, view: view, grid: grid, box: seen.box, tile: seen.tile)
            }
        }
    }
}

extension Runner {
    /// Returns the question as token ids. Throws `BadRequest` if it or so many pictures have no place.
    nonisolated func encode(_ prompt: String, _ pictures: [PicturePlace]) throws -> EncodedPrompt {
        let encoded = try writer.encode(prompt, pictures)
        try checkRoom(encoded.tokenIds.count, encoded, isFurther: false)
        return encoded
    }

    /// Returns the least places that so many pictures need: one view each, on the smallest grid.
    nonisolated func smallest(_ pictures: Int) -> [PicturePlace] {
        [PicturePlace](repeating: PicturePlace(grids: [bundle.manifest.smallestGrid]), count: pictures)
    }

    /// Returns pictures as the model sees them. Throws `BadRequest` for a view whose size no grid of the bundle has.
    nonisolated func see(_ pictures: [Picture], prune: Bool) throws -> [SeenPicture] {
        let preprocess = Preprocess(bundle.manifest.imageSteps(prune: prune))
        return try pictures.map { picture in
            try Task.checkCancellation()
            return try SeenPicture(bundle.manifest, preprocess, picture)
        }
    }

    private nonisolated func checkRoom(_ tokens: Int, _ prompt: EncodedPrompt, isFurther: Bool) throws {
        let room = engine.contextTokens
        guard tokens > room else { return }
        if isFurther {
            throw BadRequest("the conversation takes \(tokens) tokens by now, the context has \(room); start it anew")
        }
        let (pictures, views) = (prompt.pictures.count, prompt.spans.count)
        let seen = (pictures == 1 ? "image" : "\(pictures) images") + (views > pictures ? " in \(views) views" : "")
        let longer = pictures > 1 ? "--images \(pictures) or a longer --context" : "a longer --context"
        let reason = "the prompt takes \(tokens) tokens with its \(seen), the context has \(room)"
        throw BadRequest("\(reason); an export with \(longer) has more")
    }
}

extension Held {
    fileprivate mutating func add(_ token: Int, _ state: State) {
        self = Held(ids: ids + [token], tokenIds: tokenIds + [token], state: state)
    }
}

/// The views of a picture in the order of the prompt, their pixels, and the places that they take there.
struct SeenPicture: Sendable {
    let views: [ImageView]
    let pixels: [FloatTensor]
    let place: PicturePlace

    init(_ manifest: Manifest, _ preprocess: Preprocess, _ picture: Picture) throws {
        views = try preprocess.views(of: picture)
        let grids = try views.map { try manifest.gridIndex(heightPx: $0.seen.height, widthPx: $0.seen.width) }
        let last = views.compactMap(\.tile).last
        place = PicturePlace(grids: grids, rows: last.map { $0.row + 1 } ?? 0, columns: last.map { $0.column + 1 } ?? 0)
        pixels = views.map { preprocess.pixels(of: $0.seen) }
    }
}

/// Returns the result at the end of a stream of events.
public func lastResult(of events: AsyncThrowingStream<RunEvent, any Error>) async throws -> RunResult {
    for try await case .finished(let result) in events { return result }
    throw CancellationError()
}
