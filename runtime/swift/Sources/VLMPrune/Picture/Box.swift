/// A rectangle in the pixels of an upright picture; it reaches beyond the picture where that was padded.
public struct Box: Sendable, Equatable {
    public let left: Double
    public let top: Double
    public let right: Double
    public let bottom: Double

    public init(left: Double, top: Double, right: Double, bottom: Double) {
        self.left = left
        self.top = top
        self.right = right
        self.bottom = bottom
    }

    public var width: Double { right - left }
    public var height: Double { bottom - top }
}

/// Maps a place in a view to a place in the given picture: offset + scale * place, on both axes.
struct PlaceMap {
    private var across = (offset: 0.0, scale: 1.0)
    private var down = (offset: 0.0, scale: 1.0)

    /// Returns the map from a picture whose first pixel is pixel (`across`, `down`) of this one.
    func shifted(across x: Int, down y: Int) -> PlaceMap {
        var map = self
        map.across.offset += across.scale * Double(x)
        map.down.offset += down.scale * Double(y)
        return map
    }

    func scaled(from given: Size, to resized: Size) -> PlaceMap {
        var map = self
        map.across.scale *= Double(given.width) / Double(resized.width)
        map.down.scale *= Double(given.height) / Double(resized.height)
        return map
    }

    /// Returns where a rectangle of a view lies in the given picture.
    func box(_ left: Int, _ top: Int, _ size: Size) -> Box {
        func x(_ place: Int) -> Double { across.offset + across.scale * Double(place) }
        func y(_ place: Int) -> Double { down.offset + down.scale * Double(place) }
        return Box(left: x(left), top: y(top), right: x(left + size.width), bottom: y(top + size.height))
    }
}
