/// The work of every run: so many tokens are decoded greedily. Stop tokens do not end a run, and the bundle's generation
/// settings are not used. `followUp` nil asks a sample question of the bundles that have room for it.
struct BenchmarkTask: Sendable {
    let pictures: [BenchmarkPicture]
    let prompt: String
    let tokens: Int
    let followUp: String?
}

/// The times of one run, and how many tokens the cache of each decoder stage holds after the answer.
struct TimedRun: Sendable {
    let timings: Timings
    let pastTokens: [String: Int]
    var followUpMs: Double?
}

extension Runner {
    /// Runs the task once, timed as an answer is, from the picture's file on.
    func timedRun(_ task: BenchmarkTask, prune: Bool) async throws -> TimedRun {
        let start = ContinuousClock.now
        let (prompt, views) = try question(task, prune: prune)
        var stages = [StageTime(stage: "preprocess", ms: milliseconds(since: start))]
        var prefill = try Prefill(bundle.manifest, engine, prompt, views: views)
        var state = try await prefill.run(prune: prune) { stages.append(StageTime(stage: $0, ms: $1)) }
        var token = try greedy(state.logits)
        let ttftMs = milliseconds(since: start)
        var decodeMs: [Double] = []
        for _ in 1..<max(1, task.tokens) {
            let began = ContinuousClock.now
            state = try await Prefill.extend(bundle.manifest, engine, [token], behind: state)
            token = try greedy(state.logits)
            decodeMs.append(milliseconds(since: began))
        }
        let timings = Timings(stages: stages, ttftMs: ttftMs, decodeMs: decodeMs)
        var run = TimedRun(timings: timings, pastTokens: state.pastTokens)
        let began = ContinuousClock.now
        if let ids = try followUpTokens(task, used: prompt.tokenIds.count + task.tokens) {
            _ = try greedy(try await Prefill.extend(bundle.manifest, engine, [token] + ids, behind: state).logits)
            run.followUpMs = milliseconds(since: began)
        }
        return run
    }

    /// Returns the token ids and the pixels of the task's question.
    nonisolated func question(_ task: BenchmarkTask, prune: Bool) throws -> (EncodedPrompt, [FloatTensor]) {
        let seen = try see(try task.pictures.map { try $0.load() }, prune: prune)
        return (try encode(task.prompt, seen.map(\.place)), seen.flatMap(\.pixels))
    }

    /// Returns the tokens of the further question behind so many used ones; the sample question gives nil where the
    /// bundle or its context has no room. Throws `BadRequest` for another one.
    nonisolated func followUpTokens(_ task: BenchmarkTask, used: Int) throws -> [Int]? {
        do {
            let ids = try writer.encodeFollowUp(task.followUp ?? Benchmark.sampleFollowUp)
            guard used + ids.count <= engine.contextTokens else {
                let needed = "prompt, answer and follow-up take \(used + ids.count) tokens"
                throw BadRequest("\(needed), the context has \(engine.contextTokens)")
            }
            return ids
        } catch let error as BadRequest {
            if task.followUp == nil { return nil }
            throw error
        }
    }
}
