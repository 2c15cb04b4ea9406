/// Throws `BundleError` for stages, cuts, sources, pictures and files that do not fit each other.
func checkPipeline(_ manifest: Manifest) throws {
    guard !manifest.grids.isEmpty else { throw BundleError(Manifest.fileName, "there is no grid", field: "grids") }
    try checkOrder(manifest)
    try checkCuts(manifest)
    try checkMosaics(manifest)
    try checkSources(manifest)
    try checkPictures(manifest)
    let required = Set(manifest.stages.values.flatMap(\.files) + [manifest.tokenizer])
    let missing = required.subtracting(manifest.files.map(\.name)).sorted()
    guard missing.isEmpty else { throw refused("no size and hash for \(commaList(missing))") }
}

private func refused(_ reason: String) -> BundleError { BundleError(Manifest.fileName, reason) }

private func checkOrder(_ manifest: Manifest) throws {
    guard manifest.prefill.sorted() == manifest.stages.keys.sorted() else {
        throw refused("prefill does not name every stage once")
    }
    for (name, stage) in manifest.stages where stage.graphs.isEmpty { throw refused("stage \(name) has no graph") }
    for role in [Role.vision, .embed] where manifest.stages(of: role).count != 1 {
        throw refused("one stage has the role \(role.rawValue); got \(manifest.stages(of: role).count)")
    }
    let running = manifest.prefill.filter { [.embed, .decoder].contains(manifest.stages[$0]?.role) }
    guard manifest.decode == running else { throw refused("decode is not \(commaList(running))") }
    let last = manifest.stages[manifest.prefill[manifest.prefill.count - 1]]
    guard last?.role == .decoder, last?.output("logits") != nil else {
        throw refused("the last stage of prefill is no decoder that gives logits")
    }
    guard Set(manifest.prefill.prefix(2).map { manifest.stages[$0]?.role }) == [.vision, .embed] else {
        throw refused("prefill does not begin with the stages embed and vision")
    }
}

private func checkCuts(_ manifest: Manifest) throws {
    guard manifest.cuts.map(\.stage) == manifest.stages(of: .prune) else {
        throw refused("cuts are not the prune stages in the order of prefill")
    }
    for (nth, grid) in manifest.grids.enumerated() {
        guard grid.keep.count == manifest.cuts.count else {
            throw refused("grid \(nth) has \(grid.keep.count) numbers in keep for \(manifest.cuts.count) cuts")
        }
        if zip([grid.visualTokens] + grid.keep, grid.keep).contains(where: { $0 < $1 }) {
            throw refused("a cut of grid \(nth) keeps more tokens than there are")
        }
    }
}

private func checkSources(_ manifest: Manifest) throws {
    var given: Set<String> = []
    for name in manifest.prefill {
        let stage = try manifest.stage(name)
        for input in stage.inputs where input.source.isStageOutput {
            guard given.contains("\(input.source.stage).\(input.source.tensor)") else {
                throw refused("\(name).\(input.tensor.name) comes from a source that no stage has given by then")
            }
        }
        given.formUnion(stage.outputs.map { "\(name).\($0.name)" })
        let shapes = manifest.grids.count + manifest.mosaics.count
        for case let grid? in stage.graphs.map(\.grid) where grid >= shapes {
            throw refused("a graph serves grid \(grid); there are \(shapes)")
        }
    }
}

private func checkMosaics(_ manifest: Manifest) throws {
    let layouts = Set(manifest.mosaics.map { [$0.rows, $0.columns] })
    guard layouts.count == manifest.mosaics.count else { throw refused("two mosaics have as many rows and columns") }
    guard manifest.mosaics.allSatisfy({ $0.grid < manifest.grids.count }) else {
        throw refused("a mosaic is of tiles on a grid that is not there; there are \(manifest.grids.count)")
    }
}

private func checkPictures(_ manifest: Manifest) throws {
    func grids(of size: Size) -> [Grid] {
        manifest.grids.filter { $0.heightPx == size.height && $0.widthPx == size.width }
    }
    if manifest.grids.count == 1, let size = manifest.image.viewSize, grids(of: size).isEmpty {
        throw refused("images become \(size.height) x \(size.width) px, the grid is of another size")
    }
    if let size = manifest.prunedImage?.viewSize, grids(of: size).isEmpty {
        throw refused("pruned images become \(size.height) x \(size.width) px, which no grid has")
    }
}
