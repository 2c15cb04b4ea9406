/// What a token belongs to: text, a view, or a view's prefix, which belongs to no place in its picture.
enum Owner: Sendable, Equatable {
    case text
    case prefix
    case view(Int)

    /// The view's index, negative for what belongs to no place in a picture.
    var number: Int {
        switch self {
        case .text: -1
        case .prefix: -2
        case .view(let view): view
        }
    }
}

/// Views whose tokens are pruned together, and the index of the grid or mosaic that they lie on.
struct PruneGroup: Sendable, Equatable {
    let views: [Int]
    let grid: Int

    func contains(_ owner: Owner) -> Bool { if case .view(let view) = owner { views.contains(view) } else { false } }
}

/// A sequence of tokens: `tokenIds` as they were encoded, 0 for visual ones; the rest describes those that are left.
struct Tokens: Sendable, Equatable {
    var tokenIds: [Int] = []
    /// A row per axis.
    var positions: [[Int]]
    var owners: [Owner] = []
    /// The place of each token on its view's grid, -1 where it has none.
    var cells: [Int] = []
    /// The position of the token behind the last.
    var nextPosition: Int
    /// The grid of each view.
    var grids: [Int] = []
    /// The views that are pruned together.
    var groups: [PruneGroup] = []

    var count: Int { owners.count }

    /// Returns where the tokens of an owner stand.
    func places(of owner: Owner) -> [Int] { owners.indices.filter { owners[$0] == owner } }

    /// Returns where the tokens of a group's views stand.
    func places(of group: PruneGroup) -> [Int] { owners.indices.filter { group.contains(owners[$0]) } }

    /// Returns the tokens at some indices; what they were encoded as is kept whole.
    func selected(_ indices: [Int]) -> Tokens {
        var tokens = self
        tokens.positions = positions.map { axis in indices.map { axis[$0] } }
        tokens.owners = indices.map { owners[$0] }
        tokens.cells = indices.map { cells[$0] }
        return tokens
    }

    /// Makes text tokens that count on from a position on every axis.
    init(_ rule: PositionRule, text: [Int], from start: Int) {
        self.init(rule, from: start)
        add(text: text[...])
    }

    /// Makes the tokens of a prompt; the visual ones of each span lie on the span's grid.
    init(_ manifest: Manifest, _ prompt: EncodedPrompt, from start: Int) throws {
        self.init(manifest.positions, from: start)
        grids = prompt.grids
        groups = try manifest.groups(prompt)
        var at = 0
        for (nth, span) in prompt.spans.enumerated() {
            let grid = manifest.grids[grids[nth]]
            guard span.stop - span.start == grid.viewTokens else {
                let got = "the prompt has a place of \(span.stop - span.start) visual tokens"
                throw BadRequest("\(got); allowed: \(grid.viewTokens)")
            }
            add(text: prompt.tokenIds[at..<span.start])
            add(grid, view: nth, byGrid: manifest.positions.byGrid)
            at = span.stop
        }
        add(text: prompt.tokenIds[at...])
    }

    private init(_ rule: PositionRule, from start: Int) {
        positions = [[Int]](repeating: [], count: rule.axes)
        nextPosition = start
    }

    private mutating func add(text: ArraySlice<Int>) {
        for id in text { addCounted(id, .text, cell: -1) }
    }

    private mutating func add(_ grid: Grid, view: Int, byGrid: Bool) {
        for _ in 0..<grid.prefixTokens { addCounted(0, .prefix, cell: -1) }
        let start = nextPosition
        for cell in 0..<grid.visualTokens {
            if byGrid {
                add(0, .view(view), cell: cell, [start, start + cell / grid.width, start + cell % grid.width])
            } else {
                addCounted(0, .view(view), cell: cell)
            }
        }
        if byGrid { nextPosition = start + max(grid.height, grid.width) }
    }

    private mutating func addCounted(_ id: Int, _ owner: Owner, cell: Int) {
        add(id, owner, cell: cell, [Int](repeating: nextPosition, count: positions.count))
        nextPosition += 1
    }

    private mutating func add(_ id: Int, _ owner: Owner, cell: Int, _ position: [Int]) {
        tokenIds.append(id)
        owners.append(owner)
        cells.append(cell)
        for axis in positions.indices { positions[axis].append(position[axis]) }
    }
}

extension Manifest {
    /// Returns the views that are pruned together: with mosaics the tiles of each picture, every other view alone.
    fileprivate func groups(_ prompt: EncodedPrompt) throws -> [PruneGroup] {
        var groups: [PruneGroup] = []
        var start = 0
        for picture in prompt.pictures {
            let tiles = mosaics.isEmpty ? 0 : picture.rows * picture.columns
            if tiles > 0 {
                let mosaic = try mosaicIndex(rows: picture.rows, columns: picture.columns)
                groups.append(PruneGroup(views: Array(start..<start + tiles), grid: mosaic))
            }
            for view in tiles..<picture.grids.count {
                groups.append(PruneGroup(views: [start + view], grid: picture.grids[view]))
            }
            start += picture.grids.count
        }
        return groups
    }
}
