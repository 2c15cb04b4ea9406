/// A value of a JSON document and the place where it stands, so that an error names file and field.
///
/// If `lenient` is true, fields that nobody asks for are ignored, as in a manifest of a newer minor version.
struct Field {
    let value: JSONValue
    let file: String
    let path: [String]
    let lenient: Bool

    init(_ value: JSONValue, file: String, path: [String] = [], lenient: Bool = false) {
        self.value = value
        self.file = file
        self.path = path
        self.lenient = lenient
    }

    /// Returns the error that this value is not what it should be.
    func refused(_ expected: String) -> BundleError {
        if case .object = value { return BundleError(file, "should be \(expected)", field: name) }
        return BundleError(file, "should be \(expected), got \(shortRepr(value))", field: name)
    }

    /// Returns the error of a rule that the value as a whole breaks.
    func broken(_ reason: String) -> BundleError { BundleError(file, reason, field: name) }

    func text() throws -> String {
        guard case .text(let text) = value else { throw refused("a text") }
        return text
    }

    /// Returns a text that is not empty.
    func filledText() throws -> String {
        let text = try text()
        guard !text.isEmpty else { throw refused("a text") }
        return text
    }

    func text(where holds: (String) -> Bool, _ expected: String) throws -> String {
        let text = try text()
        guard text.utf8.count <= 512, holds(text) else { throw refused(expected) }
        return text
    }

    func flag() throws -> Bool {
        guard case .flag(let flag) = value else { throw refused("true or false") }
        return flag
    }

    func integer(_ range: ClosedRange<Int> = 1...Int(Int32.max)) throws -> Int {
        guard case .integer(let number) = value, range.contains(number) else {
            throw refused("a whole number of \(range.lowerBound) or more")
        }
        return number
    }

    /// Returns a whole number that may be 0.
    func count() throws -> Int { try integer(0...Int(Int32.max)) }

    func number(where holds: (Double) -> Bool = { _ in true }) throws -> Double {
        let number: Double
        switch value {
        case .integer(let whole): number = Double(whole)
        case .number(let double): number = double
        default: throw refused("a number")
        }
        guard number.isFinite, holds(number) else { throw refused("a number in its range") }
        return number
    }

    /// Returns the case of an enumeration whose raw value stands here.
    func choice<Choice: RawRepresentable & CaseIterable>(of type: Choice.Type = Choice.self) throws -> Choice
    where Choice.RawValue == String {
        guard let choice = Choice(rawValue: try text()) else {
            throw refused("one of \(commaList(Choice.allCases.map(\.rawValue)))")
        }
        return choice
    }

    func list<Item>(_ read: (Field) throws -> Item) throws -> [Item] {
        guard case .list(let items) = value else { throw refused("a list") }
        return try items.enumerated().map { try read(child($0.element, "\($0.offset)")) }
    }

    /// Reads an object with names of any kind, in their order.
    func table<Item>(_ read: (String, Field) throws -> Item) throws -> [(name: String, value: Item)] {
        guard case .object(let object) = value else { throw refused("an object") }
        return try zip(object.names, object.values).map { ($0, try read($0, child($1, $0))) }
    }

    /// Reads an object; a field that `read` does not ask for is refused.
    func record<Item>(_ read: (Record) throws -> Item) throws -> Item {
        guard case .object(let object) = value else { throw refused("an object") }
        let record = Record(self, object)
        let result = try read(record)
        if !lenient, let unknown = record.unknown {
            throw BundleError(file, "is not a known field", field: child(.null, unknown).name)
        }
        return result
    }

    /// Returns the value of a key below this one.
    func child(_ value: JSONValue, _ key: String) -> Field {
        Field(value, file: file, path: path + [key], lenient: lenient)
    }

    var name: String? {
        path.isEmpty ? nil : path.map { $0.printable.shortened() }.joined(separator: ".")
    }
}

/// The fields of an object; it remembers those that were asked for.
final class Record {
    private let field: Field
    private let object: JSONObject
    private var asked: Set<String> = []

    init(_ field: Field, _ object: JSONObject) {
        self.field = field
        self.object = object
    }

    /// Returns a field that must be there.
    func required(_ name: String) throws -> Field {
        asked.insert(name)
        guard let value = object[name] else {
            throw BundleError(field.file, "is missing", field: field.child(.null, name).name)
        }
        return field.child(value, name)
    }

    /// Returns a field that has a default, nil where it is not there; null is no value of it.
    func given(_ name: String) -> Field? {
        asked.insert(name)
        return object[name].map { field.child($0, name) }
    }

    /// Returns a field, nil where it is not there or null.
    func optional(_ name: String) -> Field? {
        asked.insert(name)
        guard let value = object[name], value != .null else { return nil }
        return field.child(value, name)
    }

    /// The first field that was not asked for.
    var unknown: String? { object.names.first { !asked.contains($0) } }
}
