/// The tokens whose rows are in the caches, and the state behind them.
///
/// Each image token stands once in `ids`, and once per visual token in `tokenIds`. The last token of an answer is not
/// among them, for it is never run.
struct Held: Sendable {
    var ids: [Int]
    var tokenIds: [Int]
    var state: State

    /// Returns what is left without so many tokens at the end, whose rows will be overwritten.
    func withoutLast(_ tokens: Int) -> Held {
        Held(
            ids: Array(ids.dropLast(tokens)), tokenIds: Array(tokenIds.dropLast(tokens)),
            state: state.rewound(by: tokens))
    }
}

/// A first question, or a further question and what it continues.
struct Turn: Sendable {
    /// The whole conversation up to where the answer begins, and its ids, each image token once.
    let text: String
    let ids: [Int]
    /// The places of all its pictures.
    let pictures: [PicturePlace]
    /// The part that is not in the caches yet.
    let prompt: EncodedPrompt
    var behind: Held?

    /// All tokens up to where the answer begins.
    var tokenIds: [Int] { (behind?.tokenIds ?? []) + prompt.tokenIds }

    /// How many pictures came with the questions before this one.
    var earlierPictures: Int { pictures.count - prompt.pictures.count }
}

/// The text up to the last answer, that answer as far as it goes, and what the caches hold.
struct Conversation: Sendable {
    let text: String
    let pictures: [PicturePlace]
    var held: Held
    var answer: TextStream

    init(_ turn: Turn, _ state: State, _ tokenizer: Tokenizer) {
        text = turn.text
        pictures = turn.pictures
        held = Held(ids: turn.ids, tokenIds: turn.tokenIds, state: state)
        answer = TextStream(tokenizer)
    }

    /// Returns a further question about new pictures.
    ///
    /// The whole conversation is tokenized anew. Its tokens are those of the caches as far as both agree; what is
    /// behind, such as an answer that the tokenizer writes in another way than the model did, is run again.
    /// Throws `BadRequest` for a question that has no place in the conversation.
    mutating func goOn(_ writer: PromptWriter, _ prompt: String, _ added: [PicturePlace]) throws -> Turn {
        let spec = writer.spec
        let text = text + spec.renderedAnswer(answer.text) + (try spec.renderedFollowUp(prompt, added))
        let ids = writer.tokenize(text)
        let same = zip(ids.dropLast(), held.ids).prefix { $0 == $1 }.count  // the last token is run in any case
        let views = pictures.reduce(0) { $0 + $1.grids.count }
        guard ids[..<same].count(where: { $0 == spec.imageTokenId }) >= views,
            !answer.text.contains(exactly: spec.imageToken)
        else { throw BadRequest("the images have other places in the conversation by now; start it anew") }
        let encoded = try writer.expanded(Array(ids[same...]), added)
        held = held.withoutLast(held.ids.count - same)
        return Turn(text: text, ids: ids, pictures: pictures + added, prompt: encoded, behind: held)
    }
}
