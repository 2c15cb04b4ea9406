#if canImport(CoreML)
import CoreML
import Foundation

/// How far loading is: the stage that is being compiled for this device, which happens once, and how many are ready.
public struct CoreMLProgress: Sendable, Equatable {
    public let stage: String
    public let done: Int
    public let total: Int
}

/// Runs the packages of a Core ML bundle, on iOS 18, macOS 15 or newer.
///
/// Every function of a package has one fixed length. A prompt runs in the shortest prefill function that it fits, padded
/// at its end. Each stage has one state, which all of its functions share, and one call at a time uses it.
public actor CoreMLEngine: Engine {
    public nonisolated let contextTokens: Int
    public nonisolated let runtime: EngineRuntime
    private let manifest: Manifest
    private let packages: [String: CoreMLPackage]
    private let gate = Gate()

    /// Loads all stages, each on the compute units that the bundle advises, or on `units`. `progress` is told before each
    /// stage; the first loading on a device compiles, which takes long, and later ones take what was compiled.
    public init(
        _ bundle: Bundle, units: ComputeUnits? = nil, progress: @Sendable (CoreMLProgress) -> Void = { _ in }
    ) async throws {
        guard bundle.manifest.target == .coreml else {
            throw BadRequest("this engine runs bundles for coreml; this one is for \(bundle.manifest.target.rawValue)")
        }
        manifest = bundle.manifest
        let decoders = manifest.stages.values.compactMap { $0.cache?.capacityTokens }
        contextTokens = min(manifest.contextTokens, decoders.min() ?? manifest.contextTokens)
        runtime = EngineRuntime(
            name: "Core ML", version: coreMLVersion, unit: manifest.computeUnits(requested: units))
        var packages: [String: CoreMLPackage] = [:]
        for name in bundle.manifest.prefill {
            try Task.checkCancellation()
            progress(CoreMLProgress(stage: name, done: packages.count, total: bundle.manifest.prefill.count))
            packages[name] = try await CoreMLPackage(bundle, name, units: units)
        }
        self.packages = packages
    }

    public func run(_ stage: String, inputs: [String: Tensor], grid: Int) async throws -> [String: Tensor] {
        guard let package = packages[stage] else { throw BadRequest("unknown stage \(shortRepr(stage))") }
        let (rows, past) = package.lengths.stage.rowsAndPast(inputs)
        if package.lengths.stage.cache != nil, rows + past > contextTokens {
            throw BadRequest("\(stage): \(rows + past) tokens do not fit the context of \(contextTokens)")
        }
        try checkIndices(stage, inputs)
        await gate.enter()
        defer { gate.leave() }
        try Task.checkCancellation()
        let longest = package.lengths.longestBehind
        guard past > 0, rows > longest else { return try await package.call(inputs, grid: grid) }
        var parts: [[String: Tensor]] = []
        for start in stride(from: 0, to: rows, by: longest) {
            try Task.checkCancellation()
            let part = start..<min(start + longest, rows)
            parts.append(try await package.call(package.lengths.part(part, of: inputs, past: past), grid: grid))
        }
        return package.lengths.joined(parts)
    }

    /// Throws an error for indices outside a table, which Core ML would not refuse.
    private func checkIndices(_ stage: String, _ inputs: [String: Tensor]) throws {
        for input in try manifest.stage(stage).inputs {
            let size: Int
            switch (input.source.stage, input.source.tensor) {
            case ("prompt", "token_ids"): size = manifest.textModel.vocabSize
            case ("sequence", "positions"): size = manifest.contextTokens
            default: continue
            }
            guard case .integers(let indices) = inputs[input.tensor.name] else { continue }
            if indices.values.contains(where: { $0 < 0 || $0 >= size }) {
                throw EngineError(stage: stage, "\(input.tensor.name) has an index that is not from 0 to \(size - 1)")
            }
        }
    }
}

/// The version of the system's framework, such as "3404.16.1".
private var coreMLVersion: String? {
    Foundation.Bundle(for: MLModel.self).object(forInfoDictionaryKey: "CFBundleVersion") as? String
}
#endif
