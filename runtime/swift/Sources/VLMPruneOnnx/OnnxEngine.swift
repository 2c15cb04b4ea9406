import COnnxRuntime
import VLMPrune

/// Runs the stages of an ONNX bundle on the CPU; each cache buffer is both input and output, and is never copied.
///
/// It exists so that the package's generate loop runs on Linux; on Apple's platforms the engine is `CoreMLEngine`.
public actor OnnxEngine: Engine {
    public nonisolated let contextTokens: Int
    public nonisolated let runtime: EngineRuntime
    private let stages: [String: OnnxStage]

    /// Loads all stages. Throws `BundleError` for a graph that the manifest does not describe, `EngineError` if loading
    /// fails. `threads` 0 is one per core; the first engine of a process decides for all.
    public init(_ bundle: Bundle, threads: Int = 0, library: String? = nil) throws {
        let library = try OnnxLibrary(library ?? OnnxLibrary.find(), threads: threads)
        contextTokens = bundle.manifest.contextTokens
        runtime = EngineRuntime(name: "onnxruntime", version: library.version)
        guard bundle.manifest.target == .onnx else {
            throw BadRequest("this engine runs bundles for onnx; this one is for \(bundle.manifest.target.rawValue)")
        }
        var stages: [String: OnnxStage] = [:]
        for name in bundle.manifest.prefill { stages[name] = try OnnxStage(bundle, name, library) }
        self.stages = stages
    }

    public func run(_ stage: String, inputs: [String: Tensor], grid: Int) throws -> [String: Tensor] {
        guard let loaded = stages[stage] else { throw BadRequest("unknown stage '\(stage)'") }
        return try loaded.run(inputs, grid: grid, contextTokens: contextTokens)
    }
}

/// A stage's sessions by the grid that they serve (nil: any), and its cache buffers.
private final class OnnxStage {
    private let name: String
    private let stage: Stage
    private let library: OnnxLibrary
    private var sessions: [Int?: OpaquePointer] = [:]
    private var buffers: [OnnxTensor] = []

    init(_ bundle: Bundle, _ name: String, _ library: OnnxLibrary) throws {
        self.name = name
        self.library = library
        stage = try bundle.manifest.stage(name)
        for graph in stage.graphs {
            var session: OpaquePointer?
            try check(vp_load(library.runtime, try bundle.path(graph.file).path, &session), name)
            sessions[graph.grid] = session
            try checkGraph(session, graph, isFirstGrid: (graph.grid ?? 0) == 0)
        }
        if let cache = stage.cache {
            for _ in cache.inputs { buffers.append(try cacheBuffer(cache, bundle.manifest.contextTokens)) }
        }
    }

    deinit {
        for case let session? in sessions.values { vp_close(library.runtime, session) }
    }

    func run(_ inputs: [String: Tensor], grid: Int, contextTokens: Int) throws -> [String: Tensor] {
        try checkCapacity(inputs, contextTokens)
        guard let session = sessions[nil] ?? sessions[grid] ?? nil else {
            throw EngineError(stage: name, "no graph serves grid \(grid)")
        }
        var fed: [(name: String, tensor: OnnxTensor)] = []
        for input in stage.inputs {
            guard let tensor = inputs[input.tensor.name] else {
                throw EngineError(stage: name, "no \(input.tensor.name)")
            }
            fed.append((input.tensor.name, try OnnxTensor(library, name, tensor, input.tensor)))
        }
        fed += zip(stage.cache?.inputs ?? [], buffers).map { ($0, $1) }
        let made = stage.outputs.map { ($0.name, OpaquePointer?.none) }
        let pinned = zip(stage.cache?.outputs ?? [], buffers).map { ($0, Optional($1.value)) }
        return try call(session, fed, made + pinned)
    }

    private func call(
        _ session: OpaquePointer, _ fed: [(name: String, tensor: OnnxTensor)],
        _ outputs: [(name: String, value: OpaquePointer?)]
    ) throws -> [String: Tensor] {
        var values = outputs.map(\.value)
        let inputs = fed.map { Optional($0.tensor.value) }
        try withCStrings(fed.map(\.name)) { inputNames in
            try withCStrings(outputs.map(\.name)) { outputNames in
                let error = vp_run(
                    library.runtime, session, inputNames, inputs, fed.count, outputNames, &values, outputs.count)
                try check(error, name)
            }
        }
        let made = values.prefix(stage.outputs.count)
        defer { for case let value? in made { vp_release(library.runtime, value) } }
        var result: [String: Tensor] = [:]
        for (spec, value) in zip(stage.outputs, made) { result[spec.name] = try read(value) }
        return result
    }

    private func read(_ value: OpaquePointer?) throws -> Tensor {
        var info = VPTensorInfo()
        var data: UnsafeMutableRawPointer?
        guard let value else { throw EngineError(stage: name, "an output is missing") }
        try check(vp_describe(library.runtime, value, &info, &data), name)
        let shape = info.shape.map(Int.init)
        let bytes = UnsafeRawBufferPointer(start: data, count: shape.reduce(1, *) * (info.dtype?.bytes ?? 0))
        return try Tensor(bytes, shape: shape, dtype: info.dtype, stage: name)
    }

    private func cacheBuffer(_ cache: Cache, _ capacity: Int) throws -> OnnxTensor {
        let shape = cache.layout.map { axis in
            switch axis {
            case .kvHeads: cache.kvHeads
            case .capacity: capacity
            case .headDim: cache.headDim
            case .batch, .layers: 1
            }
        }
        let bytes = [UInt8](repeating: 0, count: shape.reduce(cache.dtype.bytes, *))
        return try OnnxTensor(library, name, bytes, shape: shape, dtype: cache.dtype)
    }

    private func checkCapacity(_ inputs: [String: Tensor], _ contextTokens: Int) throws {
        guard stage.cache != nil else { return }
        let (rows, past) = stage.rowsAndPast(inputs)
        guard rows + past <= contextTokens else {
            throw BadRequest("\(name): \(rows + past) tokens do not fit the context of \(contextTokens)")
        }
    }

    private func checkGraph(_ session: OpaquePointer?, _ graph: Graph, isFirstGrid: Bool) throws {
        guard let session else { throw EngineError(stage: name, "onnxruntime gave no session") }
        let inputs = stage.inputs.map(\.tensor)
        for (side, specs, cached) in [
            ("inputs", inputs, stage.cache?.inputs ?? []), ("outputs", stage.outputs, stage.cache?.outputs ?? []),
        ] {
            let isOutput: Int32 = side == "outputs" ? 1 : 0
            let infos = (0..<vp_count(session, isOutput)).map { vp_info(session, isOutput, $0) }
            let (got, wanted) = (infos.map(\.text).sorted(), (specs.map(\.name) + cached).sorted())
            guard got == wanted else {
                let reason = "graph has \(got.joined(separator: ", ")); manifest says \(wanted.joined(separator: ", "))"
                throw BundleError(graph.file, reason, field: "stages.\(name).\(side)")
            }
            for spec in specs {
                let info = infos.first { $0.text == spec.name }
                guard info?.agrees(with: spec, sizes: isFirstGrid) == true else {
                    let reason = "the graph's tensor is not as the manifest says"
                    throw BundleError(graph.file, reason, field: "stages.\(name).\(side).\(spec.name)")
                }
            }
        }
    }
}

/// Calls a function with names as C has them.
private func withCStrings<Result>(
    _ texts: [String], _ use: ([UnsafePointer<CChar>?]) throws -> Result
) rethrows -> Result {
    let copies = texts.map { Array($0.utf8CString) }
    func next(_ nth: Int, _ pointers: [UnsafePointer<CChar>?]) throws -> Result {
        guard nth < copies.count else { return try use(pointers) }
        return try copies[nth].withUnsafeBufferPointer { try next(nth + 1, pointers + [$0.baseAddress]) }
    }
    return try next(0, [])
}
