#if canImport(CoreML)
import CoreML
import Foundation

private let types: [(Dtype, MLMultiArrayDataType)] = [(.float32, .float32), (.float16, .float16), (.int32, .int32)]

extension MLMultiArray {
    /// Makes an input; its shape in the graph may have leading ones more.
    convenience init(_ tensor: Tensor, _ spec: TensorSpec, stage: String) throws {
        guard let type = types.first(where: { $0.0 == spec.dtype })?.1 else {
            throw EngineError(stage: stage, "\(spec.name) has a type that Core ML does not take")
        }
        let ones = [Int](repeating: 1, count: max(0, spec.graphShape.count - tensor.shape.count))
        let shape = ones + tensor.shape
        try self.init(shape: shape.map { NSNumber(value: $0) }, dataType: type)
        let bytes = tensor.bytes(as: spec.dtype)
        withUnsafeMutableBytes { memory, strides in
            for (at, place) in places(shape, strides).enumerated() {
                let width = spec.dtype.bytes
                for byte in 0..<width { memory[place * width + byte] = bytes[at * width + byte] }
            }
        }
    }
}

extension Tensor {
    /// Reads an output, whose rows may have gaps between them.
    init(_ array: MLMultiArray, stage: String) throws {
        let shape = array.shape.map(\.intValue)
        let strides = array.strides.map(\.intValue)
        let dtype = types.first { $0.1 == array.dataType }?.0
        let width = dtype?.bytes ?? 0
        let dense = array.withUnsafeBytes { memory in
            places(shape, strides).flatMap { place in memory[place * width..<(place + 1) * width] }
        }
        self = try dense.withUnsafeBytes { try Tensor($0, shape: shape, dtype: dtype, stage: stage) }
    }
}

/// Returns where the elements lie, row by row, counted in elements.
private func places(_ shape: [Int], _ strides: [Int]) -> [Int] {
    var places = [0]
    for (size, stride) in zip(shape, strides) {
        places = places.flatMap { place in (0..<size).map { place + $0 * stride } }
    }
    return places
}
#endif
