/// Gives the text of one answer piece by piece, in whole characters; all pieces together are `text`.
///
/// A token's text depends on its neighbours (leading spaces, characters of several tokens), so the tokens since the last
/// whole piece are decoded again together with the tokens of that piece.
struct TextStream: Sendable {
    private let tokenizer: Tokenizer
    private(set) var tokenIds: [Int] = []
    private var pieceStart = 0
    private var pieceStop = 0
    private var hasBegun = false

    init(_ tokenizer: Tokenizer) {
        self.tokenizer = tokenizer
    }

    /// The text of all tokens, without the space that most answers begin with.
    var text: String { tokenizer.decode(tokenIds).withoutLeadingSpace }

    /// Adds a token and returns the text that became whole with it, which may be empty.
    mutating func push(_ tokenId: Int) -> String {
        tokenIds.append(tokenId)
        let piece = pending
        if piece.isEmpty || piece.unicodeScalars.last == "\u{FFFD}" { return "" }
        (pieceStart, pieceStop) = (pieceStop, tokenIds.count)
        return stripped(piece)
    }

    /// Returns the remaining text, broken characters included.
    mutating func finish() -> String {
        let piece = pending
        (pieceStart, pieceStop) = (tokenIds.count, tokenIds.count)
        return stripped(piece)
    }

    private mutating func stripped(_ piece: String) -> String {
        let text = hasBegun ? piece : piece.withoutLeadingSpace
        hasBegun = hasBegun || !text.isEmpty
        return text
    }

    /// The text of the tokens behind the last whole piece.
    private var pending: String {
        let last = tokenizer.decode(tokenIds[pieceStart..<pieceStop]).unicodeScalars.count
        return String(tokenizer.decode(tokenIds[pieceStart...]).unicodeScalars.dropFirst(last))
    }
}
