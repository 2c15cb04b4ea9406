import Foundation

/// An error that a user can meet. Its message is one line: what is wrong, what was got, what is allowed.
public protocol VlmPruneError: LocalizedError, CustomStringConvertible {
    var message: String { get }
}

extension VlmPruneError {
    public var description: String { message }
    public var errorDescription: String? { message }
}

/// A request cannot be met: a setting is out of range, a picture is broken, or a prompt is too long.
public struct BadRequest: VlmPruneError, Equatable {
    public let message: String

    public init(_ message: String) {
        self.message = message.shortened(to: maxMessageChars)
    }
}

/// A bundle is not as its manifest describes it; `file` and `field` say where.
public struct BundleError: VlmPruneError, Equatable {
    public let file: String
    public let field: String?
    public let message: String

    public init(_ file: String, _ reason: String, field: String? = nil) {
        self.file = file
        self.field = field
        let place = field.map { ": \($0.shortened(to: maxCauseChars))" } ?? ""
        message = "bundle: \(file.printable.shortened())\(place): \(reason.shortened(to: maxChoicesChars))"
    }
}

/// An engine refused to load or to run a stage.
public struct EngineError: VlmPruneError, Equatable {
    public let message: String

    public init(stage: String, _ reason: String) {
        message = "stage \(shortRepr(stage)) failed: \(firstLine(reason))".shortened(to: maxMessageChars)
    }

    public init(stage: String, _ cause: any Error) {
        self.init(stage: stage, (cause as? any VlmPruneError)?.message ?? cause.localizedDescription)
    }
}

private let maxValueChars = 60
private let maxChoicesChars = 400
private let maxCauseChars = 300
private let maxMessageChars = 1000

/// Returns the first non-empty line of a text, shortened.
func firstLine(_ text: String) -> String {
    let lines = text.prefix(10_000).split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
    return (lines.first { !$0.isEmpty } ?? "no reason was given").printable.shortened(to: maxCauseChars)
}

/// Returns a text as a message shows it: in quotes, without control characters, and shortened.
func shortRepr(_ text: String) -> String {
    "'\(String(text.unicodeScalars.prefix(maxChoicesChars)).printable)'".shortened()
}

/// Returns a JSON value as a message shows it.
func shortRepr(_ value: JSONValue) -> String {
    switch value {
    case .null: "null"
    case .flag(let flag): flag ? "true" : "false"
    case .integer(let number): "\(number)"
    case .number(let number): "\(number)"
    case .text(let text): shortRepr(text)
    case .list(let items): "a list of \(items.count)"
    case .object: "an object"
    }
}

/// Returns values with commas between them, as many as fit; "none" if there are none.
func commaList(_ values: some Sequence<String>) -> String {
    let parts = values.map { $0.printable.shortened() }
    var text = ""
    for (nth, part) in parts.enumerated() {
        let longer = nth == 0 ? part : text + ", " + part
        if nth > 0, longer.count > maxChoicesChars - 20 { return "\(text), ... (\(parts.count - nth) more)" }
        text = longer
    }
    return parts.isEmpty ? "none" : text
}

extension String {
    /// Returns the text itself if it has at most so many characters, otherwise its two ends.
    func shortened(to chars: Int = maxValueChars) -> String {
        guard unicodeScalars.count > chars else { return self }
        let end = (chars - 3) / 3
        let scalars = Array(unicodeScalars)
        return String(scalars.prefix(chars - 3 - end)) + "..." + String(scalars.suffix(end))
    }

    /// The text with `?` for characters that could control a terminal or break a line.
    var printable: String {
        String(unicodeScalars.map { $0.isSafe ? $0 : "?" })
    }

    init(_ scalars: some Sequence<Unicode.Scalar>) {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        self.init(view)
    }
}

extension Unicode.Scalar {
    fileprivate var isSafe: Bool {
        switch properties.generalCategory {
        case .control, .format, .surrogate, .lineSeparator, .paragraphSeparator, .unassigned, .privateUse: false
        default: true
        }
    }
}
