/// An upright picture in 8-bit RGB; `rgb` has three bytes per pixel, row by row.
public struct Picture: Sendable, Equatable {
    public let width: Int
    public let height: Int
    public let rgb: [UInt8]

    /// Throws `BadRequest` for another number of bytes than the size needs, or a picture without pixels.
    public init(width: Int, height: Int, rgb: [UInt8]) throws {
        guard width > 0, height > 0, rgb.count == 3 * width * height else {
            throw BadRequest("an image of \(width) x \(height) pixels cannot have \(rgb.count) bytes")
        }
        self.init(unchecked: rgb, width: width, height: height)
    }

    init(unchecked rgb: [UInt8], width: Int, height: Int) {
        self.width = width
        self.height = height
        self.rgb = rgb
    }

    var size: Size { Size(height: height, width: width) }

    /// Returns the rectangle of a picture from (left, top); `colour` where it reaches beyond the picture.
    func cropped(left: Int, top: Int, to size: Size, colour: RGB) -> Picture {
        if left == 0, top == 0, size == self.size { return self }
        var out = filled(size, colour)
        let first = max(0, -left)
        let count = min(size.width, width - left) - first
        for y in max(0, -top)..<max(0, -top, min(size.height, height - top)) where count > 0 {
            let (to, from) = (3 * (y * size.width + first), 3 * ((y + top) * width + left + first))
            out.replaceSubrange(to..<to + 3 * count, with: rgb[from..<from + 3 * count])
        }
        return Picture(unchecked: out, width: size.width, height: size.height)
    }
}

private func filled(_ size: Size, _ colour: RGB) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: 3 * size.height * size.width)
    if colour != .black { for at in out.indices { out[at] = colour.bytes[at % 3] } }
    return out
}

/// A picture as a platform decodes it: red, green, blue and opacity of each pixel, row by row, not multiplied by the
/// opacity; `orientation` is the value of EXIF tag 274, 1 where there is none.
public struct DecodedPicture: Sendable {
    public let width: Int
    public let height: Int
    public let rgba: [UInt8]
    public let orientation: Int

    public init(width: Int, height: Int, rgba: [UInt8], orientation: Int = 1) {
        self.width = width
        self.height = height
        self.rgba = rgba
        self.orientation = orientation
    }

    /// Returns the picture upright, with transparency laid over white.
    public func upright() throws -> Picture {
        guard width > 0, height > 0, rgba.count == 4 * width * height else {
            throw BadRequest("the image has no pixels")
        }
        let size =
            (5...8).contains(orientation) ? Size(height: width, width: height) : Size(height: height, width: width)
        var rgb: [UInt8] = []
        rgb.reserveCapacity(3 * width * height)
        for y in 0..<size.height {
            for x in 0..<size.width {
                let at = 4 * stored(x, y)
                for channel in 0..<3 { rgb.append(overWhite(rgba[at + channel], opacity: rgba[at + 3])) }
            }
        }
        return Picture(unchecked: rgb, width: size.width, height: size.height)
    }

    /// Returns the index of the stored pixel that is shown at (x, y).
    private func stored(_ x: Int, _ y: Int) -> Int {
        switch orientation {
        case 2: y * width + (width - 1 - x)
        case 3: (height - 1 - y) * width + (width - 1 - x)
        case 4: (height - 1 - y) * width + x
        case 5: x * width + y
        case 6: (height - 1 - x) * width + y
        case 7: (height - 1 - x) * width + (width - 1 - y)
        case 8: x * width + (width - 1 - y)
        default: y * width + x
        }
    }
}

/// Returns (value * opacity + 255 * (255 - opacity)) / 255, rounded.
private func overWhite(_ value: UInt8, opacity: UInt8) -> UInt8 {
    let (value, opacity) = (Int(value), Int(opacity))
    return UInt8((2 * (value * opacity + 255 * (255 - opacity)) + 255) / 510)
}
