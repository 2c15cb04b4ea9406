private let maxAspectRatio = 200
private let maxPaddedSidePx = 100_000

extension Size {
    /// Returns the size that a resize gives to a picture of this size. Throws `BadRequest` for a shape that is refused.
    func resized(to target: ResizeTarget) throws -> Size {
        switch target {
        case .exact(let size): size
        case .shortestEdge(let edge): shortestEdge(edge)
        case .longestEdge(let edge, let limit): longestEdge(edge, limit: limit)
        case .smartMultiple(let multiple, let least, let most): try smartMultiple(multiple, areas: (least, most))
        case .nearestGrid(let multiple, let grids): nearestGrid(multiple, grids)
        case .wholeTiles(let tile): wholeTiles(tile)
        }
    }

    /// Returns the side of the square that a picture is padded to.
    func paddedSide() throws -> Int {
        let side = max(height, width)
        guard side <= maxPaddedSidePx else {
            throw BadRequest(
                "image is \(width) x \(height) pixels; allowed before padding: sides up to \(maxPaddedSidePx)")
        }
        return side
    }

    private var ratio: Double { Double(width) / Double(height) }

    private func shortestEdge(_ edge: Int) -> Size {
        let longer = Int(Double(edge * max(width, height)) / Double(min(width, height)))
        return width <= height ? Size(height: longer, width: edge) : Size(height: edge, width: longer)
    }

    private func longestEdge(_ edge: Int, limit: Int) -> Size {
        let even = evenlyScaled(edge)
        var limited = even
        if even.width >= even.height, even.width > limit {
            limited = Size(height: Int(Double(limit) / even.ratio), width: limit)
        } else if even.height > even.width, even.height > limit {
            limited = Size(height: limit, width: Int(Double(limit) * even.ratio))
        }
        return Size(height: max(limited.height, 1), width: max(limited.width, 1))
    }

    /// The longer side becomes `edge`, the shorter one even.
    private func evenlyScaled(_ edge: Int) -> Size {
        let short = Int(width >= height ? Double(edge) / ratio : Double(edge) * ratio)
        let even = max(short + short % 2, 1)
        return width >= height ? Size(height: even, width: edge) : Size(height: edge, width: even)
    }

    private func smartMultiple(_ multiple: Int, areas: (least: Int, most: Int)) throws -> Size {
        guard max(height, width) <= maxAspectRatio * min(height, width) else {
            let allowed = "one side at most \(maxAspectRatio) times the other"
            throw BadRequest("image is \(width) x \(height) pixels; allowed: \(allowed)")
        }
        let (area, step) = (Double(height * width), Double(multiple))
        func each(_ side: (Double) -> Int) -> Size { Size(height: side(Double(height)), width: side(Double(width))) }
        let rounded = each { Int(($0 / step).rounded(.toNearestOrEven)) * multiple }
        if rounded.height * rounded.width > areas.most {
            let shrink = (area / Double(areas.most)).squareRoot()
            return each { max(multiple, Int(($0 / shrink / step).rounded(.down)) * multiple) }
        }
        if rounded.height * rounded.width < areas.least {
            let grow = (Double(areas.least) / area).squareRoot()
            return each { Int(($0 * grow / step).rounded(.up)) * multiple }
        }
        return rounded
    }

    private func nearestGrid(_ multiple: Int, _ grids: [Size]) -> Size {
        func distance(_ grid: Size) -> Double {
            let (one, other) = (width * grid.height, height * grid.width)
            return Double(max(one, other)) / Double(min(one, other))
        }
        let nearest = grids.min { distance($0) < distance($1) } ?? self
        return Size(height: nearest.height * multiple, width: nearest.width * multiple)
    }

    private func wholeTiles(_ tile: Int) -> Size {
        func whole(_ side: Int) -> Int { (side + tile - 1) / tile * tile }
        if width >= height {
            let wide = whole(width)
            return Size(height: whole(Int(Double(wide) / ratio)), width: wide)
        }
        let high = whole(height)
        return Size(height: high, width: whole(Int(Double(high) * ratio)))
    }
}
