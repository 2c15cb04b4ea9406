/// Decompresses data of RFC 1951, for Linux, where there is no library for it. Throws `BrokenFile` for anything else, and
/// for more than `limit` bytes.
public func inflated(_ bytes: [UInt8], limit: Int = .max) throws -> [UInt8] {
    var stream = BitStream(bytes)
    var out: [UInt8] = []
    var isLast = false
    while !isLast {
        isLast = try stream.bits(1) == 1
        switch try stream.bits(2) {
        case 0:
            out += try stream.storedBlock()
            guard out.count <= limit else { throw BrokenFile("it is larger than it says") }
        case 1: try addBlock(&stream, fixedLengths, fixedDistances, to: &out, limit)
        case 2:
            let (lengths, distances) = try dynamicCodes(&stream)
            try addBlock(&stream, lengths, distances, to: &out, limit)
        default: throw BrokenFile("unknown kind of compressed block")
        }
    }
    return out
}

/// A file is not what it should be.
public struct BrokenFile: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

private struct BitStream {
    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func bits(_ count: Int) throws -> Int {
        var value = 0
        for nth in 0..<count { value |= try bit() << nth }
        return value
    }

    mutating func bit() throws -> Int {
        guard at >> 3 < bytes.count else { throw BrokenFile("compressed data ends too early") }
        defer { at += 1 }
        return Int(bytes[at >> 3] >> UInt8(at & 7)) & 1
    }

    mutating func storedBlock() throws -> ArraySlice<UInt8> {
        at = (at + 7) & ~7
        let count = try bits(16)
        at += 16
        let start = at >> 3
        guard start + count <= bytes.count else { throw BrokenFile("compressed data ends too early") }
        at += 8 * count
        return bytes[start..<start + count]
    }
}

/// A canonical Huffman code: how many symbols have each length, and the symbols in the order of their codes.
private struct Code {
    private var counts = [Int](repeating: 0, count: 16)
    private var symbols: [Int] = []

    init(_ lengths: [Int]) {
        for length in 1...15 {
            let mine = lengths.indices.filter { lengths[$0] == length }
            counts[length] = mine.count
            symbols += mine
        }
    }

    func next(_ stream: inout BitStream) throws -> Int {
        var (code, first, index) = (0, 0, 0)
        for length in 1...15 {
            code |= try stream.bit()
            if code - counts[length] < first { return symbols[index + code - first] }
            index += counts[length]
            first = (first + counts[length]) << 1
            code <<= 1
        }
        throw BrokenFile("unknown code in compressed data")
    }
}

private let fixedLengths = Code(
    [Int](repeating: 8, count: 144) + [Int](repeating: 9, count: 112) + [Int](repeating: 7, count: 24)
        + [Int](repeating: 8, count: 8))
private let fixedDistances = Code([Int](repeating: 5, count: 30))
private let lengthBases = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
]
private let lengthBits = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]
private let codeOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

private func addBlock(
    _ stream: inout BitStream, _ lengths: Code, _ distances: Code, to out: inout [UInt8], _ limit: Int
) throws {
    while true {
        guard out.count <= limit else { throw BrokenFile("it is larger than it says") }
        let symbol = try lengths.next(&stream)
        if symbol < 256 {
            out.append(UInt8(symbol))
            continue
        }
        guard symbol > 256 else { return }
        guard symbol - 257 < lengthBases.count else { throw BrokenFile("unknown code in compressed data") }
        let length = lengthBases[symbol - 257] + (try stream.bits(lengthBits[symbol - 257]))
        let code = try distances.next(&stream)
        let distance = code < 4 ? code + 1 : 1 + (2 + code & 1) << (code / 2 - 1) + (try stream.bits(code / 2 - 1))
        guard distance <= out.count else { throw BrokenFile("compressed data refers to what is before its start") }
        for _ in 0..<length { out.append(out[out.count - distance]) }
    }
}

private func dynamicCodes(_ stream: inout BitStream) throws -> (Code, Code) {
    let (literals, distances, codes) = (257 + (try stream.bits(5)), 1 + (try stream.bits(5)), 4 + (try stream.bits(4)))
    var ownLengths = [Int](repeating: 0, count: 19)
    for place in codeOrder.prefix(codes) { ownLengths[place] = try stream.bits(3) }
    let own = Code(ownLengths)
    var lengths: [Int] = []
    while lengths.count < literals + distances {
        switch try own.next(&stream) {
        case 16: lengths += [Int](repeating: lengths.last ?? 0, count: 3 + (try stream.bits(2)))
        case 17: lengths += [Int](repeating: 0, count: 3 + (try stream.bits(3)))
        case 18: lengths += [Int](repeating: 0, count: 11 + (try stream.bits(7)))
        case let length: lengths.append(length)
        }
    }
    return (Code(Array(lengths.prefix(literals))), Code(Array(lengths.dropFirst(literals).prefix(distances))))
}
