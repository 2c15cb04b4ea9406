import Foundation

private let weightBits = 22

/// For each resized pixel of a row of them: the given pixels that it depends on, and their weights in 2^-22.
private struct Taps {
    private(set) var first: [Int] = []
    private(set) var starts: [Int] = [0]
    private(set) var weights: [Int] = []

    init(_ pixels: Range<Int>, given: Int, resized: Int, kernel: Kernel) {
        for pixel in pixels {
            let (first, weights) = taps(pixel, given: given, resized: resized, kernel: kernel)
            self.first.append(first)
            self.weights += weights
            starts.append(self.weights.count)
        }
    }

    var count: Int { first.count }

    /// The given pixels that any resized pixel depends on.
    var needed: Range<Int> {
        let last = first.indices.map { first[$0] + starts[$0 + 1] - starts[$0] }
        return (first.min() ?? 0)..<(last.max() ?? 0)
    }
}

/// A picture in a frame of one colour that is not stored: pixel (x, y) of it lies at (`left` + x, `top` + y) of the
/// frame. A padding may make a narrow picture 100,000 times larger.
struct FramedPicture {
    let picture: Picture
    let left: Int
    let top: Int
    let size: Size
    let colour: RGB

    init(_ picture: Picture) {
        self.init(picture, left: 0, top: 0, size: picture.size, colour: .black)
    }

    init(_ picture: Picture, left: Int, top: Int, size: Size, colour: RGB) {
        self.picture = picture
        self.left = left
        self.top = top
        self.size = size
        self.colour = colour
    }

    /// Returns what is stored and the frame as one picture.
    func whole() -> Picture { picture.cropped(left: -left, top: -top, to: size, colour: colour) }

    /// Returns the framed picture resized, across first and then down, each pass rounded to 8 bits; only the rectangle
    /// `columns` x `rows` of the result is computed.
    ///
    /// The arithmetic is that of Pillow's `ImagingResample` (weights in 64 bits, then fixed-point numbers), which the
    /// manifest's schema spells out.
    func resized(to size: Size, _ kernel: Kernel, columns: Range<Int>, rows: Range<Int>) -> Picture {
        let across = Taps(columns, given: self.size.width, resized: size.width, kernel: kernel)
        let down = Taps(rows, given: self.size.height, resized: size.height, kernel: kernel)
        let stored = down.needed.clamped(to: top..<top + picture.height)
        return resizedDown(resizedAcross(across, stored), stored, down)
    }

    /// Resizes those rows of the frame that hold pixels of the picture.
    private func resizedAcross(_ taps: Taps, _ rows: Range<Int>) -> Picture {
        var line = (0..<3 * size.width).map { colour.bytes[$0 % 3] }
        let out = [UInt8](unsafeUninitializedCapacity: 3 * taps.count * rows.count) { out, count in
            for row in rows {
                let start = 3 * (row - top) * picture.width
                line.replaceSubrange(
                    3 * left..<3 * (left + picture.width), with: picture.rgb[start..<start + 3 * picture.width])
                line.withUnsafeBufferPointer { line in
                    taps.weights.withUnsafeBufferPointer { weights in
                        for nth in 0..<taps.count {
                            let (first, range) = (taps.first[nth], taps.starts[nth]..<taps.starts[nth + 1])
                            for channel in 0..<3 {
                                out[count] = sum(weights, range) { line[3 * (first + $0) + channel] }
                                count += 1
                            }
                        }
                    }
                }
            }
        }
        return Picture(unchecked: out, width: taps.count, height: rows.count)
    }

    /// Resizes down; rows outside `stored` have the frame's colour.
    private func resizedDown(_ narrow: Picture, _ stored: Range<Int>, _ taps: Taps) -> Picture {
        let rowBytes = 3 * narrow.width
        let (low, high) = (stored.lowerBound, stored.upperBound)
        let (red, green, blue) = (colour.bytes[0], colour.bytes[1], colour.bytes[2])
        let out = [UInt8](unsafeUninitializedCapacity: rowBytes * taps.count) { out, count in
            narrow.rgb.withUnsafeBufferPointer { rgb in
                taps.weights.withUnsafeBufferPointer { weights in
                    for nth in 0..<taps.count {
                        let (first, range) = (taps.first[nth], taps.starts[nth]..<taps.starts[nth + 1])
                        for offset in 0..<rowBytes {
                            let frame = offset % 3 == 0 ? red : offset % 3 == 1 ? green : blue
                            out[count] = sum(weights, range) { place in
                                let row = first + place
                                return row >= low && row < high ? rgb[(row - low) * rowBytes + offset] : frame
                            }
                            count += 1
                        }
                    }
                }
            }
        }
        return Picture(unchecked: out, width: narrow.width, height: taps.count)
    }
}

/// Returns the weighted sum of bytes, rounded and clipped to a byte.
@inline(__always)
private func sum(_ weights: UnsafeBufferPointer<Int>, _ range: Range<Int>, _ pixel: (Int) -> UInt8) -> UInt8 {
    var sum = 1 << (weightBits - 1)
    for at in range { sum &+= weights[at] &* Int(pixel(at &- range.lowerBound)) }
    return UInt8(clamping: sum >> weightBits)
}

private func taps(_ pixel: Int, given: Int, resized: Int, kernel: Kernel) -> (first: Int, weights: [Int]) {
    let scale = Double(given) / Double(resized)
    let centre = (Double(pixel) + 0.5) * scale
    if kernel.filter == .nearest { return (min(max(Int(centre.rounded(.down)), 0), given - 1), [1 << weightBits]) }
    let stretch = kernel.antialias ? max(scale, 1) : 1
    let reach = kernel.supportPx * stretch
    let first = max(Int(centre - reach + 0.5), 0)
    let stop = min(Int(centre + reach + 0.5), given)
    let values = (first..<stop).map { kernel.value((Double($0) - centre + 0.5) * (1 / stretch)) }
    let total = values.reduce(0, +)
    return (first, values.map { fixed(total == 0 ? $0 : $0 / total) })
}

/// Returns a weight as a fixed-point number, halves rounded away from zero.
private func fixed(_ weight: Double) -> Int {
    let scaled = weight * Double(1 << weightBits)
    return Int(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
}

extension Kernel {
    fileprivate func value(_ x: Double) -> Double {
        switch filter {
        case .nearest: 1
        case .bilinear: max(0, 1 - abs(x))
        case .bicubic: cubic(abs(x), cubicA ?? -0.5)
        case .lanczos: x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0
        }
    }
}

private func cubic(_ x: Double, _ a: Double) -> Double {
    if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
}

private func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(x * .pi) / (x * .pi) }
