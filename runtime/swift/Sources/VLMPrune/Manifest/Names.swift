let packageSuffix = ".mlpackage"

/// Says whether a stage's file is a Core ML package, which is a folder of files.
func isPackage(_ name: String) -> Bool { name.hasSuffix(packageSuffix) }

/// Says whether a name has the form of the names of stages and tensors.
func isPlainWord(_ name: String) -> Bool {
    guard let first = name.utf8.first, isLetter(first), name.utf8.count <= 64 else { return false }
    return name.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") }
}

/// Says whether a name is a plain file name inside the bundle folder.
func isPlainFileName(_ name: String) -> Bool {
    guard let first = name.utf8.first, isLetter(first) || isDigit(first) || first == UInt8(ascii: "_") else {
        return false
    }
    let isPlain = name.utf8.allSatisfy { isLetter($0) || isDigit($0) || "_.-".utf8.contains($0) }
    return isPlain && !name.contains("..")
}

/// Says whether a name is a plain file name, or the path of a file inside a folder that ends in `.mlpackage`.
func isListedName(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    return parts.allSatisfy(isPlainFileName) && (parts.count == 1 || isPackage(parts[0]))
}

private func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
}

private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

extension Field {
    func plainWord() throws -> String { try text(where: isPlainWord, "a plain name") }

    func fileName() throws -> String { try text(where: isPlainFileName, "a plain file name") }

    func listedName() throws -> String { try text(where: isListedName, "a plain file name") }
}
