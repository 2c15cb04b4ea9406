import VLMPrune

/// Decodes a PNG file of 8 bits per channel that is not interlaced. Throws `BadRequest` for any other file.
///
/// Apple's platforms have a decoder of their own; this one serves Linux, where the package has no other library.
public func decodePNG(_ bytes: [UInt8]) throws -> DecodedPicture {
    do {
        return try PNG(bytes).decoded()
    } catch let error as BrokenFile {
        throw BadRequest("the image cannot be read: \(error)")
    }
}

private struct PNG {
    private let width: Int
    private let height: Int
    private let channels: Int
    private let compressed: [UInt8]

    init(_ bytes: [UInt8]) throws {
        guard bytes.starts(with: [137, 80, 78, 71, 13, 10, 26, 10]) else { throw BrokenFile("it is no PNG file") }
        var header: [UInt8] = []
        var data: [UInt8] = []
        var at = 8
        while at + 12 <= bytes.count {
            let length = number(bytes[at..<at + 4])
            guard at + 12 + length <= bytes.count else { throw BrokenFile("it ends too early") }
            let content = bytes[at + 8..<at + 8 + length]
            let kind = String(decoding: bytes[at + 4..<at + 8], as: UTF8.self)
            if kind == "IHDR" { header = Array(content) }
            if kind == "IDAT" { data += content }
            at += 12 + length
        }
        guard header.count == 13, header[8] == 8, header[12] == 0, let channels = [0: 1, 2: 3, 4: 2, 6: 4][header[9]]
        else {
            throw BrokenFile("allowed are PNG files of 8 bits per channel, without a palette and not interlaced")
        }
        (width, height, self.channels) = (number(header[0..<4]), number(header[4..<8]), channels)
        guard width > 0, height > 0, width * height <= 1 << 28 else {
            throw BrokenFile("it has too many pixels, or none")
        }
        compressed = Array(data.dropFirst(2))
    }

    func decoded() throws -> DecodedPicture {
        let rowBytes = width * channels
        let filtered = try inflated(compressed)
        guard filtered.count >= height * (rowBytes + 1) else { throw BrokenFile("it ends too early") }
        var rows = [UInt8](repeating: 0, count: height * rowBytes)
        for y in 0..<height {
            let start = y * (rowBytes + 1)
            for x in 0..<rowBytes {
                let left = x >= channels ? Int(rows[y * rowBytes + x - channels]) : 0
                let up = y > 0 ? Int(rows[(y - 1) * rowBytes + x]) : 0
                let corner = x >= channels && y > 0 ? Int(rows[(y - 1) * rowBytes + x - channels]) : 0
                let guess = predicted(filtered[start], left, up, corner)
                rows[y * rowBytes + x] = filtered[start + 1 + x] &+ UInt8(guess)
            }
        }
        return DecodedPicture(width: width, height: height, rgba: rgba(rows))
    }

    private func predicted(_ filter: UInt8, _ left: Int, _ up: Int, _ corner: Int) -> Int {
        switch filter {
        case 1: return left
        case 2: return up
        case 3: return (left + up) / 2
        case 4:
            let (toLeft, toUp, toCorner) = (abs(up - corner), abs(left - corner), abs(left + up - 2 * corner))
            return toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner
        default: return 0
        }
    }

    private func rgba(_ rows: [UInt8]) -> [UInt8] {
        (0..<width * height).flatMap { pixel -> [UInt8] in
            let values = rows[pixel * channels..<(pixel + 1) * channels]
            let (first, last) = (values[values.startIndex], values[values.endIndex - 1])
            switch channels {
            case 1: return [first, first, first, 255]
            case 2: return [first, first, first, last]
            case 3: return values + [255]
            default: return Array(values)
            }
        }
    }
}

private func number(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reduce(0) { $0 << 8 | Int($1) } }
