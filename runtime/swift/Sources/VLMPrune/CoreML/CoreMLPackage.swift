#if canImport(CoreML)
import CoreML
import Foundation

/// A stage's package: a model per function, and one state that all functions share.
///
/// The engine lets one call at a time in, so that the models and the state are never used by two tasks at once.
final class CoreMLPackage: @unchecked Sendable {
    let lengths: FixedLengths
    private let models: [String: MLModel]
    private let state: MLState?

    init(_ bundle: Bundle, _ name: String, units: ComputeUnits?) async throws {
        let stage = try bundle.manifest.stage(name)
        lengths = FixedLengths(name: name, stage: stage)
        do {
            var models: [String: MLModel] = [:]
            let compiledModels = try CompiledModels.inCaches()
            let isSingle = stage.graphs.count == 1
            for graph in stage.graphs {
                let url = try await compiledModels.model(of: graph.file, in: bundle) {
                    try await MLModel.compileModel(at: $0)
                }
                let configuration = MLModelConfiguration()
                configuration.computeUnits = stage.computeUnits(requested: units).coreML
                if !isSingle { configuration.functionName = graph.entry }
                models[key(graph)] = try await MLModel.load(contentsOf: url, configuration: configuration)
            }
            self.models = models
            state = stage.cache?.owner == .state ? models.values.first?.makeState() : nil
        } catch let error as any VlmPruneError {
            throw error
        } catch let error as CancellationError {
            throw error
        } catch {
            throw EngineError(stage: name, error)
        }
    }

    /// Returns the outputs of one call: padded, predicted, and without the padding.
    func call(_ inputs: [String: Tensor], grid: Int) async throws -> [String: Tensor] {
        let graph = try lengths.graph(for: inputs, grid: grid)
        let rows = lengths.stage.rowsAndPast(inputs).rows
        guard let model = models[key(graph)] else { throw EngineError(stage: lengths.name, "a function is not loaded") }
        var features: [String: MLFeatureValue] = [:]
        for (spec, tensor) in try lengths.padded(inputs, for: graph) {
            features[spec.name] = MLFeatureValue(multiArray: try MLMultiArray(tensor, spec, stage: lengths.name))
        }
        let given: any MLFeatureProvider
        do {
            let provider = try MLDictionaryFeatureProvider(dictionary: features)
            if let state {
                given = try await model.prediction(from: provider, using: state)
            } else {
                given = try await model.prediction(from: provider)
            }
        } catch let error as CancellationError {
            throw error
        } catch {
            throw EngineError(stage: lengths.name, error)
        }
        var outputs: [String: Tensor] = [:]
        for spec in lengths.stage.outputs {
            guard let array = given.featureValue(for: spec.name)?.multiArrayValue else {
                throw EngineError(stage: lengths.name, "gives no \(spec.name)")
            }
            outputs[spec.name] = lengths.unpadded(try Tensor(array, stage: lengths.name), spec, rows: rows)
        }
        return outputs
    }
}

private func key(_ graph: Graph) -> String { "\(graph.file)#\(graph.entry ?? "")" }

extension ComputeUnits {
    fileprivate var coreML: MLComputeUnits {
        switch self {
        case .all: .all
        case .cpuAndNeuralEngine: .cpuAndNeuralEngine
        case .cpuAndGPU: .cpuAndGPU
        case .cpuOnly: .cpuOnly
        }
    }
}
#endif
