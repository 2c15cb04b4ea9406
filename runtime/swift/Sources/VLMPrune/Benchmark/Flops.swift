/// The FLOPs of one call of each stage, as `vlmprune_runtime.flops` counts them: a multiply-add counts as two, causal
/// attention as dense, and norms, rope, look-ups and pruning not at all. `vision` is nil if the bundle does not give it.
struct StageFlops: Equatable {
    let vision: Int?
    let head: Int
    let tail: Int

    var llm: Int { head + tail }
}

extension TextModel {
    /// Returns the FLOPs of one decoder layer for `rows` new tokens that see `attended` tokens.
    func layerFlops(rows: Int, attended: Int) -> Int {
        let (queries, keys) = (attentionHeads * headDim, kvHeads * headDim)
        let projections: Int = 2 * hiddenSize * (2 * queries + 2 * keys)
        let mlp: Int = 6 * hiddenSize * intermediateSize
        return rows * (projections + mlp + 4 * attended * queries)
    }
}

extension Manifest {
    /// Returns the FLOPs of the prefill of a prompt, those of views on these grids included.
    func prefillFlops(promptTokens: Int, grids indices: [Int], prune: Bool) -> StageFlops {
        let rows = rowsOfDecoders(promptTokens: promptTokens, grids: indices, prune: prune)
        let counted = indices.map { grids[$0].visionFlops }
        let vision: Int? = counted.contains(nil) ? nil : counted.compactMap { $0 }.reduce(0, +)
        return stageFlops(rows.map { decoderFlops($0.stage, rows: $0.rows, attended: $0.rows) }, vision: vision)
    }

    /// Returns the FLOPs of one new token behind so many tokens in the cache of each decoder stage.
    func decodeFlops(behind rows: [(stage: String, rows: Int)]) -> StageFlops {
        stageFlops(rows.map { decoderFlops($0.stage, rows: 1, attended: $0.rows + 1) }, vision: 0)
    }

    /// Returns how many tokens of a prompt with views on these grids each decoder stage sees.
    func rowsOfDecoders(promptTokens: Int, grids indices: [Int], prune: Bool) -> [(stage: String, rows: Int)] {
        let tokens: [[Int]] = indices.map { [grids[$0].visualTokens] + grids[$0].keep }
        let left: [Int] = (0...cuts.count).map { nth in tokens.reduce(0) { sum, view in sum + view[nth] } }
        var (rows, cut) = (promptTokens, 0)
        var out: [(stage: String, rows: Int)] = []
        for name in prefill {
            if stages[name]?.role == .prune, prune {
                rows -= left[cut] - left[cut + 1]
                cut += 1
            } else if stages[name]?.role == .decoder {
                out.append((name, rows))
            }
        }
        return out
    }

    /// Returns the size of the keys and values of so many tokens in the cache of each decoder stage.
    func cacheBytes(_ tokens: [String: Int]) -> Int {
        var bytes = 0
        for (name, count) in tokens {
            guard let cache = stages[name]?.cache else { continue }
            let row: Int = cache.layers.count * cache.kvHeads * cache.headDim * cache.dtype.bytes
            bytes += 2 * count * row
        }
        return bytes
    }

    private func stageFlops(_ decoders: [Int], vision: Int?) -> StageFlops {
        StageFlops(vision: vision, head: decoders.dropLast().reduce(0, +), tail: decoders.last ?? 0)
    }

    private func decoderFlops(_ name: String, rows: Int, attended: Int) -> Int {
        let layers = stages[name]?.cache?.layers.count ?? 0
        let logits = stages[name]?.output("logits") == nil ? 0 : 2 * textModel.hiddenSize * textModel.vocabSize
        return layers * textModel.layerFlops(rows: rows, attended: attended) + logits
    }
}
