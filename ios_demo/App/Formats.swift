import Foundation

/// Returns a time as the screens show it: milliseconds up to a second.
func shownTime(milliseconds: Double) -> String {
    let time = Measurement(
        value: milliseconds < 1000 ? milliseconds : milliseconds / 1000,
        unit: milliseconds < 1000 ? UnitDuration.milliseconds : UnitDuration.seconds)
    let digits = milliseconds < 1000 ? 0 : 2
    return time.formatted(
        .measurement(
            width: .abbreviated, usage: .asProvided, numberFormatStyle: .number.precision(.fractionLength(digits))))
}

func shownBytes(_ bytes: Int) -> String {
    Int64(bytes).formatted(.byteCount(style: .memory))
}

/// Returns the name of a stage as the screens show it.
func shownStage(_ stage: String) -> String {
    switch stage {
    case "preprocess": String(localized: "Preprocessing")
    case "vision": String(localized: "Vision encoder")
    case "embed": String(localized: "Embedding")
    case "head": String(localized: "First layers")
    case "prune", "prune_vision", "prune_input": String(localized: "Pruning")
    case "tail": String(localized: "Other layers")
    case "decode": String(localized: "Next token")
    case "llm_prefill": String(localized: "Prefill")
    case "first_token": String(localized: "First token")
    case "follow_up": String(localized: "Follow-up")
    default: stage
    }
}
