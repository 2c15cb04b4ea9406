/// A change that is made to the user's text.
public enum Edit: Sendable, Equatable {
    case strip(start: Bool, end: Bool, characters: String)
    case replace(old: String, new: String)
}

/// The place of the pictures in a prompt: each is `before`, the image token, `after`; `between` stands between two.
public struct ImagesSegment: Sendable, Equatable {
    public let before: String
    public let after: String
    public let between: String
    public let fewest: Int
    public let most: Int?
}

/// A part of the text of a turn.
public enum Segment: Sendable, Equatable {
    case text(String)
    case images(ImagesSegment)
    case userText([Edit])
    case date(format: String)
}

/// A further question in the same conversation.
public struct FollowUp: Sendable, Equatable {
    public let beforeAnswer: String
    public let segments: [Segment]
    public let standalone: Bool
}

/// The text of a picture that is seen as tiles and the whole, in which each view has its own image token.
public struct TilesText: Sendable, Equatable {
    public let tile: String
    public let rowEnd: String
    public let whole: String
    public let only: String
    public let end: String
}

/// How a question becomes token ids.
public struct PromptSpec: Sendable, Equatable {
    public let segments: [Segment]
    public let followUp: FollowUp?
    public let tiles: TilesText?
    public let imageToken: String
    public let imageTokenId: Int
    public let addSpecialTokens: Bool

    /// How many pictures a first question may have: at least, and at most, nil for any number.
    public var pictures: (fewest: Int, most: Int?) {
        for case .images(let images) in segments { return (images.fewest, images.most) }
        return (0, 0)
    }
}

func readPrompt(_ field: Field) throws -> PromptSpec {
    try field.record { record in
        let prompt = PromptSpec(
            segments: try record.required("segments").list(readSegment),
            followUp: try record.optional("follow_up").map(readFollowUp),
            tiles: try record.optional("tiles").map(readTiles),
            imageToken: try record.required("image_token").filledText(),
            imageTokenId: try record.required("image_token_id").count(),
            addSpecialTokens: try record.required("add_special_tokens").flag()
        )
        try checkPrompt(prompt, field)
        return prompt
    }
}

private func readFollowUp(_ field: Field) throws -> FollowUp {
    try field.record { record in
        let segments = try record.required("segments").list(readSegment)
        guard segments.count(where: \.isUserText) == 1, segments.count(where: \.isImages) <= 1 else {
            throw field.broken("segments need one place for the user's text, and at most one for images")
        }
        return FollowUp(
            beforeAnswer: try record.given("before_answer")?.text() ?? "",
            segments: segments,
            standalone: try record.required("standalone").flag()
        )
    }
}

private func readTiles(_ field: Field) throws -> TilesText {
    try field.record { record in
        TilesText(
            tile: try record.required("tile").text(),
            rowEnd: try record.required("row_end").text(),
            whole: try record.required("whole").text(),
            only: try record.required("only").text(),
            end: try record.required("end").text()
        )
    }
}

private func readSegment(_ field: Field) throws -> Segment {
    try field.record { record in
        switch try record.required("kind").text() {
        case "text": return .text(try record.required("text").text())
        case "images": return .images(try readImages(record))
        case "user_text": return .userText(try record.given("edits")?.list(readEdit) ?? [])
        case "date":
            return .date(format: try record.required("format").text(where: isDateFormat, "a format of C's strftime"))
        default: throw try record.required("kind").refused("one of date, images, text, user_text")
        }
    }
}

private func readImages(_ record: Record) throws -> ImagesSegment {
    ImagesSegment(
        before: try record.given("before")?.text() ?? "",
        after: try record.given("after")?.text() ?? "",
        between: try record.given("between")?.text() ?? "",
        fewest: try record.given("fewest")?.integer(0...1) ?? 1,
        most: try record.optional("most")?.integer()
    )
}

private func readEdit(_ field: Field) throws -> Edit {
    try field.record { record in
        switch try record.required("kind").text() {
        case "strip":
            let side: StrippedSide = try record.required("side").choice()
            let characters = try record.required("characters").filledText()
            return .strip(start: side != .end, end: side != .start, characters: characters)
        case "replace":
            return .replace(old: try record.required("old").filledText(), new: try record.required("new").text())
        default: throw try record.required("kind").refused("one of replace, strip")
        }
    }
}

private enum StrippedSide: String, CaseIterable { case start, end, both }

extension Segment {
    var isUserText: Bool { if case .userText = self { true } else { false } }
    var isImages: Bool { if case .images = self { true } else { false } }
}

private func checkPrompt(_ prompt: PromptSpec, _ field: Field) throws {
    guard prompt.segments.count(where: \.isImages) == 1 else {
        throw field.broken("segments need one place for images")
    }
    guard prompt.segments.count(where: \.isUserText) == 1 else {
        throw field.broken("segments need one place for the user's text")
    }
    var texts = (prompt.segments + (prompt.followUp?.segments ?? [])).compactMap { segment in
        if case .text(let text) = segment { text } else { nil }
    }
    if let tiles = prompt.tiles { texts += [tiles.tile, tiles.rowEnd, tiles.whole, tiles.only, tiles.end] }
    if texts.contains(where: { $0.contains(exactly: prompt.imageToken) }) {
        throw field.broken("the image token stands in a text; its place is a segment of images")
    }
}

/// Says whether every directive of a format is one of C's strftime that depends on no locale.
private func isDateFormat(_ format: String) -> Bool {
    var letters = format.unicodeScalars.makeIterator()
    while let letter = letters.next() {
        guard letter == "%" else { continue }
        guard let directive = letters.next(), "aAbBdHIjmMpSyY%".unicodeScalars.contains(directive) else { return false }
    }
    return true
}
