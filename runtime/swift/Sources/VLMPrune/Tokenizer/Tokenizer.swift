import Foundation

/// A text on its way to the model; `isFirst` says that it stands at the very start of the whole text.
struct Piece: Equatable {
    var text: String
    var isFirst: Bool
}

typealias TextStep = @Sendable (String) -> String
typealias SplitStep = @Sendable ([Piece]) -> [Piece]
typealias DecodeStep = @Sendable ([String]) -> [String]

/// A tokenizer as `tokenizer.json` describes it: added tokens, normalizer, pre-tokenizer, BPE, post-processor, decoder.
///
/// It gives the ids that the `tokenizers` package of Hugging Face gives.
public final class Tokenizer: Sendable {
    private let added: AddedTokens
    private let normalize: TextStep
    private let preTokenize: SplitStep
    private let model: BPE
    private let template: PostProcessor
    private let decoder: DecodeStep

    /// Reads a tokenizer. Throws `BundleError` if the file is none, or of a kind that is not supported.
    public init(contentsOf file: URL) throws {
        let name = file.lastPathComponent
        let value = try parseJSON(try readBytes(file.path, name: name), file: name)
        guard case .object = value else { throw BundleError(name, "is not a tokenizer") }
        let record = try Field(value, file: name, lenient: true).record { $0 }
        normalize = try record.optional("normalizer").map(readNormalizer) ?? unchanged
        preTokenize = try record.optional("pre_tokenizer").map(readPreTokenizer) ?? unchanged
        model = try readBPE(record.required("model"))
        added = try readAddedTokens(record.optional("added_tokens"), normalize: normalize)
        template = try record.optional("post_processor").map(readPostProcessor) ?? PostProcessor()
        decoder = try record.optional("decoder").map(readDecoder) ?? spaced
    }

    /// Returns the ids of a text, with the tokenizer's own special tokens around it where `addSpecialTokens`.
    public func encode(_ text: String, addSpecialTokens: Bool) -> [Int] {
        var ids: [Int] = []
        for part in added.split(text, normalize: normalize) {
            switch part {
            case .token(let id): ids.append(id)
            case .plain(let piece): for piece in preTokenize([piece]) { model.encode(piece.text, into: &ids) }
            }
        }
        return addSpecialTokens ? template.before + ids + template.after : ids
    }

    /// Returns the text of ids; special tokens are left out.
    public func decode(_ ids: some Sequence<Int>) -> String {
        let tokens = ids.filter { !added.isSpecial($0) }.compactMap { added.token($0) ?? model.token($0) }
        return decoder(tokens).joined()
    }
}

@Sendable private func unchanged<Text>(_ text: Text) -> Text { text }

/// Without a decoder, tokens are joined with spaces.
@Sendable private func spaced(_ tokens: [String]) -> [String] {
    tokens.enumerated().map { $0.offset == 0 ? $0.element : " " + $0.element }
}
