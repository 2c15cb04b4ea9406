/// A kept visual token as it is drawn: its rectangle in the upright picture, and the rank of its choice, from 0.
public struct KeptPatch: Sendable, Equatable {
    public let box: Box
    public let rank: Int
    /// The index of the view among those of its picture.
    public let view: Int
}

extension RunResult {
    /// Returns the kept patches of a picture in the order in which they were chosen, rank by rank over all of its views.
    public func keptPatches(ofPicture picture: Int = 0) -> [KeptPatch] {
        pruned.filter { $0.picture == picture }.flatMap { kept in
            seen.filter { $0.picture == picture && $0.view == kept.view }.flatMap { $0.patches(kept) }
        }.sorted { ($0.rank, $0.view) < ($1.rank, $1.view) }
    }
}

extension SeenView {
    /// Returns the patches of what was kept of this view.
    public func patches(_ pruned: Pruned) -> [KeptPatch] {
        zip(pruned.kept, pruned.rank).map { KeptPatch(box: patch($0), rank: $1, view: view) }
    }

    /// Returns where a cell of the view's grid lies in the upright picture.
    public func patch(_ cell: Int) -> Box {
        let (width, height) = (box.width / Double(grid.width), box.height / Double(grid.height))
        let left = box.left + Double(cell % grid.width) * width
        let top = box.top + Double(cell / grid.width) * height
        return Box(left: left, top: top, right: left + width, bottom: top + height)
    }
}
