import Foundation

/// A benchmark that launch arguments ask for: `--bundle NAME --record FILE [--pairs N] [--prompt TEXT] [--image FILE]`.
public struct LaunchRequest: Equatable, Sendable {
    public let bundle: String
    public let record: String
    public let pairs: Int
    public let prompt: String?
    public let image: String?

    /// Reads the arguments of the process; nil if they ask for no benchmark, or name files outside the app's folders.
    public init?(_ arguments: [String]) {
        var values: [String: String] = [:]
        for (option, value) in zip(arguments, arguments.dropFirst()) where option.hasPrefix("--") {
            values[option] = value
        }
        guard let bundle = values["--bundle"], let record = values["--record"] else { return nil }
        guard [bundle, record, values["--image"] ?? "image"].allSatisfy({ isPlainName($0) }) else { return nil }
        self.bundle = bundle
        self.record = record
        pairs = values["--pairs"].flatMap(Int.init).map { max(1, $0) } ?? 10
        prompt = values["--prompt"]
        image = values["--image"]
    }
}

/// Whether a name is that of a file in a folder, and of nothing else.
private func isPlainName(_ name: String) -> Bool {
    !name.isEmpty && !name.hasPrefix(".") && !name.contains("/")
}
