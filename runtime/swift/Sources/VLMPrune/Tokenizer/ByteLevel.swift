/// GPT-2's letters for bytes: every byte is a letter that can be seen.
enum ByteLevel {
    private static let letters: [Unicode.Scalar] = {
        var next: UInt32 = 256
        return (UInt8.min...UInt8.max).map { byte in
            if (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174 { return Unicode.Scalar(byte) }
            defer { next += 1 }
            return Unicode.Scalar(next) ?? "?"
        }
    }()

    private static let bytes = Dictionary(
        uniqueKeysWithValues: letters.enumerated().map { ($0.element, UInt8($0.offset)) })

    /// Returns a text as letters for its UTF-8 bytes.
    static func encode(_ text: String) -> String { String(text.utf8.map { letters[Int($0)] }) }

    /// Returns the text of tokens; one with other letters stands for itself, and bytes that are no text become U+FFFD.
    static func decode(_ tokens: [String]) -> String {
        let all = tokens.flatMap { token -> [UInt8] in
            let known = token.unicodeScalars.compactMap { bytes[$0] }
            return known.count == token.unicodeScalars.count ? known : Array(token.utf8)
        }
        return String(decoding: all, as: UTF8.self)
    }
}
