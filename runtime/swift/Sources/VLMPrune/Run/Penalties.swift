/// Where an answer stands: the sequence so far, how many of its tokens are the answer's, and the limit of their number.
struct AnswerProgress {
    var sequence: [Int]
    var answerTokens = 0
    let limit: Int
}

/// Returns the logits after every penalty and ban of the settings, in the order that the manifest's schema lists.
func penalised(_ logits: [Float], _ progress: AnswerProgress, _ settings: GenerationSpec) -> [Float] {
    var scores = logits
    let sequence = progress.sequence
    penaliseRepetition(&scores, sequence, Float(settings.repetitionPenalty))
    suppress(&scores, repeatedNgrams(sequence, settings.noRepeatNgramSize))
    suppress(&scores, badWordTokens(sequence, settings.badWordsIds, stops: settings.stopTokenIds))
    if sequence.count < settings.minLength || progress.answerTokens < settings.minNewTokens {
        suppress(&scores, settings.stopTokenIds)
    }
    if !settings.forcedStopTokenIds.isEmpty, progress.answerTokens == progress.limit - 1 {
        scores = [Float](repeating: -.infinity, count: scores.count)
        for id in settings.forcedStopTokenIds where id < scores.count { scores[id] = 0 }
    }
    suppress(&scores, settings.suppressTokenIds)
    if progress.answerTokens == 0 { suppress(&scores, settings.beginSuppressTokenIds) }
    return scores
}

/// Makes the tokens of the sequence less likely.
private func penaliseRepetition(_ scores: inout [Float], _ sequence: [Int], _ penalty: Float) {
    guard penalty != 1 else { return }
    for id in Set(sequence) where id < scores.count {
        scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty
    }
}

/// Returns the tokens that would complete `size` tokens which the sequence has already.
func repeatedNgrams(_ sequence: [Int], _ size: Int) -> [Int] {
    guard size > 0, sequence.count >= size else { return [] }
    let last = sequence.suffix(size - 1)
    return (0...sequence.count - size).filter { sequence[$0..<$0 + size - 1].elementsEqual(last) }
        .map { sequence[$0 + size - 1] }
}

/// Returns the last tokens of the words whose others the sequence ends with; a stop token alone is no bad word.
func badWordTokens(_ sequence: [Int], _ words: [[Int]], stops: [Int]) -> [Int] {
    words.compactMap { word in
        guard let last = word.last else { return nil }
        let before = word.dropLast()
        let isBad = before.isEmpty ? !stops.contains(last) : sequence.suffix(before.count).elementsEqual(before)
        return isBad ? last : nil
    }
}

/// Forbids tokens; ids outside the vocabulary are ignored.
private func suppress(_ scores: inout [Float], _ ids: [Int]) {
    for id in ids where id < scores.count { scores[id] = -.infinity }
}
