/// Height and width in pixels.
public struct Size: Sendable, Equatable {
    public let height: Int
    public let width: Int

    public init(height: Int, width: Int) {
        self.height = height
        self.width = width
    }
}

public enum Filter: String, Sendable, CaseIterable { case nearest, bilinear, bicubic, lanczos }

/// A separable filter with Pillow's constants; the schema says how its weights follow from them.
public struct Kernel: Sendable, Equatable {
    public let filter: Filter
    public let supportPx: Double
    public let cubicA: Double?
    public let antialias: Bool

    /// Returns the kernel of a filter, with Pillow's constants.
    static func of(_ filter: Filter) -> Kernel {
        switch filter {
        case .nearest: Kernel(filter: filter, supportPx: 0, cubicA: nil, antialias: false)
        case .bilinear: Kernel(filter: filter, supportPx: 1, cubicA: nil, antialias: true)
        case .bicubic: Kernel(filter: filter, supportPx: 2, cubicA: -0.5, antialias: true)
        case .lanczos: Kernel(filter: filter, supportPx: 3, cubicA: nil, antialias: true)
        }
    }
}

/// The size that a resize aims at.
public enum ResizeTarget: Sendable, Equatable {
    case exact(Size)
    case shortestEdge(edgePx: Int)
    case longestEdge(edgePx: Int, limitPx: Int)
    case smartMultiple(multiplePx: Int, minAreaPx: Int, maxAreaPx: Int)
    case nearestGrid(multiplePx: Int, grids: [Size])
    case wholeTiles(tilePx: Int)
}

/// Red, green and blue.
public struct RGB: Sendable, Equatable {
    public let bytes: [UInt8]

    static let black = RGB(bytes: [0, 0, 0])
}

/// A step that moves the pixels of the whole picture.
public enum Move: Sendable, Equatable {
    case pad(RGB)
    case resize(ResizeTarget, Kernel)
    case crop(Size, RGB)
}

/// Cuts the picture into square tiles, row by row, and adds the whole picture, resized to one tile, as the last view.
public struct Split: Sendable, Equatable {
    public let tilePx: Int
    public let kernel: Kernel
}

/// How a picture becomes pixels: `moves` in order, perhaps tiles, then values * `factor`, less `mean`, over `std`.
public struct ImageSpec: Sendable, Equatable {
    public let moves: [Move]
    public let split: Split?
    public let factor: Float
    public let mean: [Float]
    public let std: [Float]

    /// The size of every view after preprocessing, nil if it depends on the picture.
    var viewSize: Size? {
        if let split { return Size(height: split.tilePx, width: split.tilePx) }
        var size: Size?
        var isSquare = false
        for move in moves {
            (size, isSquare) = move.sizeAfter(size, isSquare: isSquare)
        }
        return size
    }
}

extension Move {
    /// Returns the size after the step if all pictures have the same, and whether all are square.
    fileprivate func sizeAfter(_ size: Size?, isSquare: Bool) -> (Size?, Bool) {
        switch self {
        case .pad: return (size.map { square(max($0.height, $0.width)) }, true)
        case .crop(let cropped, _): return (cropped, cropped.height == cropped.width)
        case .resize(.exact(let exact), _): return (exact, exact.height == exact.width)
        case .resize(.nearestGrid(let multiple, let grids), _) where grids.count == 1:
            let grid = Size(height: grids[0].height * multiple, width: grids[0].width * multiple)
            return (grid, grid.height == grid.width)
        case .resize(.shortestEdge(let edge), _) where isSquare: return (square(edge), true)
        case .resize: return (nil, false)
        }
    }
}

private func square(_ side: Int) -> Size { Size(height: side, width: side) }
