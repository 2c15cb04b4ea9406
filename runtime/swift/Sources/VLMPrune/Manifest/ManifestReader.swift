/// Returns the manifest in a JSON text; its version is looked at before anything else. Throws `BundleError`.
func parseManifest(_ bytes: [UInt8]) throws -> Manifest {
    let value = try parseJSON(bytes, file: Manifest.fileName)
    guard case .object(let object) = value else {
        throw BundleError(Manifest.fileName, "is not a JSON object but \(shortRepr(value))")
    }
    let isNewer = try checkVersion(object)
    let manifest = try readManifest(Field(value, file: Manifest.fileName, lenient: isNewer))
    try checkPipeline(manifest)
    return manifest
}

private let older = "was exported by an older vlmprune: export it again"

/// Returns whether the manifest's minor version is newer than the one that this runtime knows.
private func checkVersion(_ object: JSONObject) throws -> Bool {
    if object["schema_version"] != nil { throw BundleError(Manifest.fileName, older, field: "schema_version") }
    let version = object["schema"] ?? .null
    guard case .object(let parts) = version, case .integer(let major) = parts["major"],
        case .integer(let minor) = parts["minor"]
    else {
        let reason = "got \(shortRepr(version)), expected major and minor as whole numbers"
        throw BundleError(Manifest.fileName, reason, field: "schema")
    }
    if major < Manifest.major { throw BundleError(Manifest.fileName, older, field: "schema.major") }
    if major > Manifest.major {
        let versions = "got version \(major), this runtime reads \(Manifest.major)"
        let reason = "was exported by a newer vlmprune (\(versions)): update the app"
        throw BundleError(Manifest.fileName, reason, field: "schema.major")
    }
    return minor > Manifest.minor
}

private func readManifest(_ document: Field) throws -> Manifest {
    try document.record { record in
        _ = try record.required("schema").record {
            [try $0.required("major").count(), try $0.required("minor").count()]
        }
        try readExport(record.given("export"))
        for name in ["parity", "accuracy"] { _ = try record.optional(name)?.table { $1.value } }
        return Manifest(
            name: try record.required("name").text(),
            modelType: try record.required("model_type").text(),
            target: try record.required("target").choice(),
            source: try readSource(record.required("source")),
            quantisation: try record.required("quantisation").choice(),
            grids: try record.required("grids").list(readGrid),
            mosaics: try record.given("mosaics")?.list(readMosaic) ?? [],
            cuts: try record.required("cuts").list(readCut),
            positions: try record.given("positions").map(readPositions) ?? PositionRule(axes: 1, byGrid: false),
            stages: try byName(record.required("stages").table { try readStage(checkedName($0, $1)) }),
            prefill: try record.required("prefill").list { try $0.plainWord() },
            decode: try record.required("decode").list { try $0.plainWord() },
            tokenizer: try record.given("tokenizer")?.fileName() ?? "tokenizer.json",
            image: try readImage(record.required("image")),
            prunedImage: try record.optional("pruned_image").map(readImage),
            prompt: try readPrompt(record.required("prompt")),
            generation: try readGeneration(record.required("generation")),
            prunerMethod: try readPruner(record.required("pruner")),
            textModel: try readTextModel(record.required("text_model")),
            contextTokens: try record.required("context_tokens").integer(),
            memory: try readMemory(record.required("memory")),
            versions: try byName(record.required("versions").table { try $1.text() }),
            files: try record.required("files").table(readFile).map(\.value)
        )
    }
}

private func byName<Item>(_ items: [(name: String, value: Item)]) -> [String: Item] {
    Dictionary(items.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
}

/// Returns the field itself; the name under which it stands has to be a plain one.
private func checkedName(_ name: String, _ field: Field) throws -> Field {
    guard isPlainWord(name) else { throw field.broken("is not a plain name") }
    return field
}

private func readExport(_ field: Field?) throws {
    try field?.record { record in
        _ = try record.optional("fit")?.choice(of: Fit.self)
        _ = try record.given("options")?.table { try $1.text() }
    }
}

private enum Fit: String, CaseIterable { case gptq, none }

private func readSource(_ field: Field) throws -> Source {
    try field.record { record in
        Source(
            model: try record.required("model").text(),
            revision: try record.optional("revision")?.text(),
            sha256: try record.optional("sha256")?.text(where: isSha256, "64 hexadecimal digits")
        )
    }
}

private func readGrid(_ field: Field) throws -> Grid {
    try field.record { record in
        Grid(
            height: try record.required("height").integer(),
            width: try record.required("width").integer(),
            heightPx: try record.required("height_px").integer(),
            widthPx: try record.required("width_px").integer(),
            prefixTokens: try record.given("prefix_tokens")?.count() ?? 0,
            keep: try record.required("keep").list { try $0.integer() },
            meanVisualTokens: try record.required("mean_visual_tokens").number { $0 > 0 },
            visionFlops: try record.optional("vision_flops")?.integer(1...Int.max)
        )
    }
}

private func readMosaic(_ field: Field) throws -> Mosaic {
    try field.record { record in
        Mosaic(
            rows: try record.required("rows").integer(),
            columns: try record.required("columns").integer(),
            grid: try record.given("grid")?.count() ?? 0
        )
    }
}

private func readCut(_ field: Field) throws -> Cut {
    try field.record { record in
        Cut(
            stage: try record.required("stage").plainWord(),
            at: try record.required("at").choice(),
            layer: try record.required("layer").count()
        )
    }
}

private enum ImagePositions: String, CaseIterable { case sequence, grid }

private func readPositions(_ field: Field) throws -> PositionRule {
    try field.record { record in
        let axes = try record.given("axes")?.integer(1...3) ?? 1
        let image: ImagePositions = try record.given("image")?.choice() ?? .sequence
        guard axes != 2 else { throw try record.required("axes").refused("1 or 3") }
        guard (axes == 3) == (image == .grid) else {
            throw field.broken("positions by grid have three axes, positions in sequence one")
        }
        return PositionRule(axes: axes, byGrid: image == .grid)
    }
}

private enum PrunedPositions: String, CaseIterable { case original }

private func readPruner(_ field: Field) throws -> String {
    try field.record { record in
        _ = try record.given("positions")?.choice(of: PrunedPositions.self)
        _ = try record.required("settings").table { $1.value }
        return try record.required("method").text()
    }
}

private func readTextModel(_ field: Field) throws -> TextModel {
    try field.record { record in
        TextModel(
            layers: try record.required("layers").integer(),
            hiddenSize: try record.required("hidden_size").integer(),
            intermediateSize: try record.required("intermediate_size").integer(),
            attentionHeads: try record.required("attention_heads").integer(),
            kvHeads: try record.required("kv_heads").integer(),
            headDim: try record.required("head_dim").integer(),
            vocabSize: try record.required("vocab_size").integer()
        )
    }
}

private func readMemory(_ field: Field) throws -> MemoryEstimate {
    try field.record { record in
        func bytes(_ name: String) throws -> Int { try record.required(name).integer(Int.min...Int.max) }
        return MemoryEstimate(
            weightsBytes: try bytes("weights_bytes"),
            kvCacheBytes: try bytes("kv_cache_bytes"),
            activationsBytes: try bytes("activations_bytes"),
            peakBytes: try bytes("peak_bytes")
        )
    }
}

private func readFile(_ name: String, _ field: Field) throws -> FileEntry {
    guard isListedName(name) else { throw field.broken("is not a plain file name") }
    return try field.record { record in
        FileEntry(
            name: name,
            sizeBytes: try record.required("size_bytes").integer(0...Int.max),
            sha256: try record.required("sha256").text(where: isSha256, "64 hexadecimal digits")
        )
    }
}

private func isSha256(_ text: String) -> Bool {
    text.utf8.count == 64 && text.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
}
