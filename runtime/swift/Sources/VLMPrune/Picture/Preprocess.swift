/// One view of a picture: what the model sees of it, and where that lies in the picture.
public struct ImageView: Sendable {
    /// The view in 8-bit RGB, before rescaling.
    public let seen: Picture
    public let box: Box
    /// The row and the column of a tile, from 0; nil for a view that shows the whole picture.
    public let tile: TilePlace?
}

public struct TilePlace: Sendable, Equatable {
    public let row: Int
    public let column: Int
}

/// Turns pictures into the pixels that the vision stage takes, as the manifest's steps say.
public struct Preprocess: Sendable {
    public let spec: ImageSpec

    public init(_ spec: ImageSpec) {
        self.spec = spec
    }

    /// Returns every view of a picture in the order of the prompt: tiles row by row, the whole picture last.
    public func views(of picture: Picture) throws -> [ImageView] {
        var framed = FramedPicture(picture)
        var map = PlaceMap()
        for (nth, move) in spec.moves.enumerated() {
            let next = nth + 1 < spec.moves.count ? spec.moves[nth + 1] : nil
            (framed, map) = try moved(framed, move, next: next, map)
        }
        let whole = framed.whole()
        guard let split = spec.split, max(whole.height, whole.width) > split.tilePx else {
            return [ImageView(seen: whole, box: map.box(0, 0, whole.size), tile: nil)]
        }
        return try tiles(whole, split, map)
    }

    /// Returns the pixels (1, 3, H, W) of a view, computed in 32-bit floats.
    public func pixels(of view: Picture) -> FloatTensor {
        let plane = view.width * view.height
        let values = [Float](unsafeUninitializedCapacity: 3 * plane) { out, count in
            view.rgb.withUnsafeBufferPointer { rgb in
                for channel in 0..<3 {
                    let (mean, std) = (spec.mean[channel], spec.std[channel])
                    for pixel in 0..<plane {
                        out[channel * plane + pixel] = (Float(rgb[3 * pixel + channel]) * spec.factor - mean) / std
                    }
                }
            }
            count = 3 * plane
        }
        return FloatTensor(shape: [1, 3, view.height, view.width], values: values)
    }

    private func moved(
        _ framed: FramedPicture, _ move: Move, next: Move?, _ map: PlaceMap
    ) throws -> (FramedPicture, PlaceMap) {
        switch move {
        case .pad(let colour):
            let picture = framed.whole()
            let side = try picture.size.paddedSide()
            let (left, top) = ((side - picture.width) / 2, (side - picture.height) / 2)
            let square = Size(height: side, width: side)
            return (
                FramedPicture(picture, left: left, top: top, size: square, colour: colour),
                map.shifted(across: -left, down: -top)
            )
        case .resize(let target, let kernel):
            let size = try framed.size.resized(to: target)
            let scaled = map.scaled(from: framed.size, to: size)
            guard size != framed.size else { return (FramedPicture(framed.whole()), map) }
            var (columns, rows) = (0..<size.width, 0..<size.height)
            if case .crop(let crop, _) = next {
                columns = kept(size.width, crop.width)
                rows = kept(size.height, crop.height)
            }
            let part = framed.resized(to: size, kernel, columns: columns, rows: rows)
            return (FramedPicture(part), scaled.shifted(across: columns.lowerBound, down: rows.lowerBound))
        case .crop(let size, let colour):
            let (left, top) = (cropStart(framed.size.width, size.width), cropStart(framed.size.height, size.height))
            let picture = framed.whole().cropped(left: left, top: top, to: size, colour: colour)
            return (FramedPicture(picture), map.shifted(across: left, down: top))
        }
    }

    private func tiles(_ picture: Picture, _ split: Split, _ map: PlaceMap) throws -> [ImageView] {
        let tile = Size(height: split.tilePx, width: split.tilePx)
        var views: [ImageView] = []
        for top in stride(from: 0, to: picture.height, by: split.tilePx) {
            for left in stride(from: 0, to: picture.width, by: split.tilePx) {
                let seen = picture.cropped(left: left, top: top, to: tile, colour: .black)
                let place = TilePlace(row: top / split.tilePx, column: left / split.tilePx)
                views.append(ImageView(seen: seen, box: map.box(left, top, tile), tile: place))
            }
        }
        let side = 0..<split.tilePx
        let whole = FramedPicture(picture).resized(to: tile, split.kernel, columns: side, rows: side)
        return views + [ImageView(seen: whole, box: map.box(0, 0, picture.size), tile: nil)]
    }
}

/// Returns the first pixel of a centre crop, negative for a picture that is too small and is padded.
private func cropStart(_ given: Int, _ crop: Int) -> Int { given >= crop ? (given - crop) / 2 : -((crop - given) / 2) }

/// Returns the resized pixels that a crop keeps: those that are computed at all.
private func kept(_ given: Int, _ crop: Int) -> Range<Int> {
    let start = max(cropStart(given, crop), 0)
    return start..<min(start + crop, given)
}
