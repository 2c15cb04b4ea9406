func readImage(_ field: Field) throws -> ImageSpec {
    try field.record { record in
        let steps = try record.required("steps").list(readStep)
        let split = steps.compactMap(\.split)
        let moves = steps.filter { $0.move != nil }
        let expected =
            ["orient", "colour"] + moves.map(\.name) + split.prefix(1).map { _ in "split" } + [
                "rescale", "normalise", "layout",
            ]
        guard steps.map(\.name) == expected else {
            throw field.broken("steps are out of order or missing; allowed with these: \(commaList(expected))")
        }
        let (rescale, normalise) = (steps[steps.count - 3], steps[steps.count - 2])
        return ImageSpec(
            moves: moves.compactMap(\.move), split: split.first, factor: rescale.values[0], mean: normalise.values,
            std: normalise.std
        )
    }
}

private struct Step {
    let name: String
    var move: Move?
    var split: Split?
    var values: [Float] = []
    var std: [Float] = []
}

private func readStep(_ field: Field) throws -> Step {
    try field.record { record in
        let name = try record.required("step").text()
        switch name {
        case "orient": try record.constant("exif_tag", .integer(274))
        case "colour":
            try record.constant("space", .text("rgb"))
            try record.constant("background", .list([.integer(255), .integer(255), .integer(255)]))
            try record.constant("icc_profile", .text("ignored"))
        case "layout":
            try record.constant("order", .text("chw"))
            try record.constant("dtype", .text("float32"))
        case "split":
            try record.constant("whole", .text("last"))
            return Step(
                name: name,
                split: Split(
                    tilePx: try record.required("tile_px").integer(), kernel: try readKernel(record.required("kernel")))
            )
        case "rescale": return Step(name: name, values: [Float(try record.required("factor").number())])
        case "normalise":
            let mean = try readThree(record.required("mean")) { _ in true }
            return Step(name: name, values: mean, std: try readThree(record.required("std")) { $0 > 0 })
        default: return Step(name: name, move: try readMove(name, record, field))
        }
        return Step(name: name)
    }
}

private func readMove(_ name: String, _ record: Record, _ field: Field) throws -> Move {
    switch name {
    case "pad":
        try record.constant("to", .text("square"))
        try record.constant("position", .text("centre"))
        return .pad(try readRGB(record.required("colour")))
    case "resize": return .resize(try readTarget(record.required("to")), try readKernel(record.required("kernel")))
    case "crop":
        try record.constant("position", .text("centre"))
        return .crop(try readSize(record), try record.given("colour").map(readRGB) ?? .black)
    default: throw field.refused("a known step")
    }
}

extension Record {
    /// Refuses a field whose value is not the only one that this version knows.
    func constant(_ name: String, _ known: JSONValue) throws {
        guard let field = given(name), field.value != known else { return }
        throw field.refused("the one value that it may have")
    }
}

private func readSize(_ record: Record) throws -> Size {
    Size(height: try record.required("height_px").integer(), width: try record.required("width_px").integer())
}

private func readRGB(_ field: Field) throws -> RGB {
    let parts = try field.list { UInt8(try $0.integer(0...255)) }
    guard parts.count == 3 else { throw field.refused("three bytes") }
    return RGB(bytes: parts)
}

private func readThree(_ field: Field, where holds: (Double) -> Bool) throws -> [Float] {
    let parts = try field.list { Float(try $0.number(where: holds)) }
    guard parts.count == 3 else { throw field.refused("three numbers") }
    return parts
}

private func readKernel(_ field: Field) throws -> Kernel {
    try field.record { record in
        try record.constant("weight_bits", .integer(22))
        try record.constant("passes", .list([.text("horizontal"), .text("vertical")]))
        try record.constant("between_passes", .text("uint8"))
        let kernel = Kernel(
            filter: try record.required("filter").choice(),
            supportPx: try record.required("support_px").number(),
            cubicA: try record.optional("cubic_a")?.number(),
            antialias: try record.required("antialias").flag()
        )
        guard kernel == Kernel.of(kernel.filter) else {
            throw field.broken("the constants are not those of the filter")
        }
        return kernel
    }
}

private func readTarget(_ field: Field) throws -> ResizeTarget {
    try field.record { record in
        func px(_ name: String) throws -> Int { try record.required(name).integer() }
        switch try record.required("mode").text() {
        case "exact": return .exact(try readSize(record))
        case "shortest_edge": return .shortestEdge(edgePx: try px("edge_px"))
        case "longest_edge": return .longestEdge(edgePx: try px("edge_px"), limitPx: try px("limit_px"))
        case "smart_multiple":
            let areas = (try px("min_area_px"), try px("max_area_px"))
            return .smartMultiple(multiplePx: try px("multiple_px"), minAreaPx: areas.0, maxAreaPx: areas.1)
        case "nearest_grid":
            let grids = try record.required("grids").list(readGridShape)
            guard !grids.isEmpty else { throw try record.required("grids").refused("at least one grid") }
            return .nearestGrid(multiplePx: try px("multiple_px"), grids: grids)
        case "whole_tiles": return .wholeTiles(tilePx: try px("tile_px"))
        default: throw try record.required("mode").refused("a known mode")
        }
    }
}

private func readGridShape(_ field: Field) throws -> Size {
    let sides = try field.list { try $0.integer() }
    guard sides.count == 2 else { throw field.refused("height and width") }
    return Size(height: sides[0], width: sides[1])
}
