#if canImport(ImageIO)
import CoreGraphics
import Foundation
import ImageIO

extension Picture {
    /// Decodes the bytes of a picture file of any kind that the system knows (JPEG, HEIC, PNG, ...), turned upright by its
    /// EXIF tag, with transparency laid over white and its colour profile ignored. Throws `BadRequest` for other bytes.
    public init(imageData: Data) throws {
        guard let source = CGImageSourceCreateWithData(imageData as CFData, nil),
            let image = CGImageSourceCreateImageAtIndex(source, 0, nil)
        else { throw BadRequest("the image cannot be read: it is no image, or of an unknown kind") }
        let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [String: Any]
        let orientation = (properties?[kCGImagePropertyOrientation as String] as? NSNumber)?.intValue ?? 1
        self = try DecodedPicture(image, orientation: orientation).upright()
    }
}

extension DecodedPicture {
    /// Draws over white, in the colour space that the picture has itself, so that no value is converted.
    fileprivate init(_ image: CGImage, orientation: Int) throws {
        let (width, height) = (image.width, image.height)
        guard width > 0, height > 0, width <= (1 << 28) / height else {
            throw BadRequest("the image has too many pixels, or none: \(width) x \(height)")
        }
        let own = image.colorSpace.flatMap { $0.model == .rgb ? $0 : nil } ?? CGColorSpaceCreateDeviceRGB()
        var rgba = [UInt8](repeating: 255, count: 4 * width * height)
        let isDrawn = rgba.withUnsafeMutableBytes { memory in
            let context = CGContext(
                data: memory.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width,
                space: own, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            context?.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return context != nil
        }
        guard isDrawn else { throw BadRequest("the image cannot be drawn: \(width) x \(height)") }
        for at in stride(from: 3, to: rgba.count, by: 4) { rgba[at] = 255 }
        self.init(width: width, height: height, rgba: rgba, orientation: orientation)
    }
}
#endif
