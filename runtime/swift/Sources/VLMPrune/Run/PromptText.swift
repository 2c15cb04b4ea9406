import Foundation

/// Places `start` to `stop` - 1 of a prompt, which the visual tokens of one view take.
struct Span: Sendable, Equatable {
    let start: Int
    let stop: Int
}

/// The places that a picture takes in a prompt: the index of the grid of each of its views, in order.
///
/// A picture in tiles has `rows` x `columns` of them, row by row, and the whole picture behind them; others have 0 x 0.
struct PicturePlace: Sendable, Equatable {
    var grids = [0]
    var rows = 0
    var columns = 0
}

/// Token ids, a span per view, and the places of each picture.
struct EncodedPrompt: Sendable, Equatable {
    let tokenIds: [Int]
    let spans: [Span]
    let pictures: [PicturePlace]

    /// The index of each view's grid.
    var grids: [Int] { pictures.flatMap(\.grids) }

    /// The index of each view's picture, and the index of the view among the views of its picture.
    var viewPlaces: [(picture: Int, view: Int)] {
        pictures.enumerated().flatMap { nth, picture in picture.grids.indices.map { (nth, $0) } }
    }
}

/// Writes questions and conversations as text and token ids, as the manifest's prompt says.
struct PromptWriter: Sendable {
    let spec: PromptSpec
    let tokenizer: Tokenizer
    let viewTokens: [Int]

    init(_ manifest: Manifest, _ tokenizer: Tokenizer) {
        spec = manifest.prompt
        viewTokens = manifest.grids.map(\.viewTokens)
        self.tokenizer = tokenizer
    }

    /// Returns the first question about pictures.
    func encode(_ prompt: String, _ pictures: [PicturePlace]) throws -> EncodedPrompt {
        try expanded(tokenize(try spec.rendered(prompt, pictures)), pictures)
    }

    /// Returns the ids of a whole text, each image token once.
    func tokenize(_ text: String) -> [Int] { tokenizer.encode(text, addSpecialTokens: spec.addSpecialTokens) }

    /// Returns the tokens of a further question without pictures, and of the end of the answer before it.
    func encodeFollowUp(_ prompt: String) throws -> [Int] {
        tokenizer.encode(try spec.renderedFollowUp(prompt, []), addSpecialTokens: false)
    }

    /// Returns the ids with each view's image token repeated once per token of the view.
    func expanded(_ ids: [Int], _ pictures: [PicturePlace]) throws -> EncodedPrompt {
        let grids = pictures.flatMap(\.grids)
        guard ids.count(where: { $0 == spec.imageTokenId }) == grids.count else {
            let reason = "the tokenizer does not turn \(shortRepr(spec.imageToken)) into this id"
            throw BundleError(Manifest.fileName, reason, field: "prompt.image_token_id")
        }
        var out: [Int] = []
        var spans: [Span] = []
        for id in ids {
            let count = id == spec.imageTokenId ? viewTokens[grids[spans.count]] : 1
            if id == spec.imageTokenId { spans.append(Span(start: out.count, stop: out.count + count)) }
            out += [Int](repeating: id, count: count)
        }
        return EncodedPrompt(tokenIds: out, spans: spans, pictures: pictures)
    }
}

extension PromptSpec {
    /// Returns the whole text of a first question. Throws `BadRequest` for a prompt or a number of pictures without a place.
    func rendered(_ prompt: String, _ pictures: [PicturePlace], now: Date = Date()) throws -> String {
        try joined(segments, prompt, pictures, now)
    }

    /// Returns the text between the last answer and the next. Throws `BadRequest` if the bundle has none.
    func renderedFollowUp(_ prompt: String, _ pictures: [PicturePlace], now: Date = Date()) throws -> String {
        guard let followUp else {
            throw BadRequest("this bundle's chat template has no further question in a conversation")
        }
        return try joined(followUp.segments, prompt, pictures, now)
    }

    /// Returns the text of an answer as it stands in a conversation.
    func renderedAnswer(_ answer: String) -> String { (followUp?.beforeAnswer ?? "") + answer.withoutSpaceAround }

    private func joined(
        _ segments: [Segment], _ prompt: String, _ pictures: [PicturePlace], _ now: Date
    ) throws -> String {
        if !pictures.isEmpty, !segments.contains(where: \.isImages) {
            throw BadRequest("got \(pictures.count) images; allowed: none in this turn")
        }
        return try segments.map { segment in
            switch segment {
            case .text(let text): text
            case .images(let images): try text(of: images, pictures)
            case .userText(let edits): try userText(prompt, edits)
            case .date(let format): written(now, format)
            }
        }.joined()
    }

    private func text(of images: ImagesSegment, _ pictures: [PicturePlace]) throws -> String {
        guard pictures.count >= images.fewest, pictures.count <= images.most ?? pictures.count else {
            let limit = images.most.map { "to \($0)" } ?? "or more"
            throw BadRequest("got \(pictures.count) images; allowed: \(images.fewest) \(limit)")
        }
        return pictures.map { images.before + text(of: $0) + images.after }.joined(separator: images.between)
    }

    /// Returns the text of a picture, with an image token for each of its views.
    private func text(of picture: PicturePlace) -> String {
        guard let tiles else { return String(repeating: imageToken, count: picture.grids.count) }
        guard picture.rows > 0 else { return tiles.only + imageToken + tiles.end }
        let rows = (1...picture.rows).map { row in
            (1...picture.columns).map { tiles.text(row: row, column: $0) + imageToken }.joined() + tiles.rowEnd
        }
        return rows.joined() + tiles.whole + imageToken + tiles.end
    }

    private func userText(_ prompt: String, _ edits: [Edit]) throws -> String {
        let text = edits.reduce(prompt) { text, edit in
            switch edit {
            case .replace(let old, let new): text.replacing(exactly: old, with: new)
            case .strip(let start, let end, let characters): text.stripped(start: start, end: end, of: characters)
            }
        }
        guard !text.contains(exactly: imageToken) else {
            throw BadRequest("the prompt contains \(shortRepr(imageToken)), which stands for the image")
        }
        return text
    }
}

extension TilesText {
    fileprivate func text(row: Int, column: Int) -> String {
        tile.replacing(exactly: "{row}", with: "\(row)").replacing(exactly: "{column}", with: "\(column)")
    }
}

/// What stands for each of strftime's directives in Foundation's formats.
private let directives: [Unicode.Scalar: String] = [
    "a": "EEE", "A": "EEEE", "b": "MMM", "B": "MMMM", "d": "dd", "H": "HH", "I": "hh", "j": "DDD", "m": "MM", "M": "mm",
    "p": "a", "S": "ss", "y": "yy", "Y": "yyyy",
]

/// Writes a date as C's strftime does in the C locale.
private func written(_ date: Date, _ format: String) -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.calendar = Calendar(identifier: .gregorian)
    var out = ""
    var letters = format.unicodeScalars.makeIterator()
    while let letter = letters.next() {
        guard letter == "%", let directive = letters.next() else {
            out.unicodeScalars.append(letter)
            continue
        }
        formatter.dateFormat = directives[directive]
        out += directives[directive] == nil ? String(directive) : formatter.string(from: date)
    }
    return out
}
