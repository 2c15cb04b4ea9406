import COnnxRuntime
import VLMPrune

/// A tensor of onnxruntime on memory of its own.
final class OnnxTensor {
    let value: OpaquePointer
    private let memory: UnsafeMutableRawBufferPointer
    private let library: OnnxLibrary

    init(_ library: OnnxLibrary, _ stage: String, _ bytes: [UInt8], shape: [Int], dtype: Dtype) throws {
        self.library = library
        memory = .allocate(byteCount: max(1, bytes.count), alignment: 64)
        memory.copyBytes(from: bytes)
        var made: OpaquePointer?
        let sizes = shape.map(Int64.init)
        let error = vp_tensor(
            library.runtime, memory.baseAddress, bytes.count, sizes, sizes.count, dtype.onnxType, &made)
        do {
            try check(error, stage)
            guard let made else { throw EngineError(stage: stage, "onnxruntime gave no tensor") }
            value = made
        } catch {
            memory.deallocate()
            throw error
        }
    }

    /// Makes an input; its shape in the graph may have leading ones more.
    convenience init(_ library: OnnxLibrary, _ stage: String, _ tensor: Tensor, _ spec: TensorSpec) throws {
        let ones = [Int](repeating: 1, count: max(0, spec.graphShape.count - tensor.shape.count))
        try self.init(library, stage, tensor.bytes(as: spec.dtype), shape: ones + tensor.shape, dtype: spec.dtype)
    }

    deinit {
        vp_release(library.runtime, value)
        memory.deallocate()
    }
}

private let types: [(Dtype, Int)] = [
    (.float32, VP_FLOAT), (.float16, VP_FLOAT16), (.int64, VP_INT64), (.int32, VP_INT32), (.uint8, VP_UINT8),
    (.int8, VP_INT8),
]

extension Dtype {
    var onnxType: Int32 { Int32(types.first { $0.0 == self }?.1 ?? 0) }
}

extension VPTensorInfo {
    var dtype: Dtype? { types.first { $0.1 == Int(type) }?.0 }

    var shape: [Int64] {
        withUnsafeBytes(of: sizes) { Array($0.bindMemory(to: Int64.self).prefix(Int(axes))) }
    }

    var text: String {
        withUnsafeBytes(of: name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// Says whether the graph's tensor is as declared: a fixed size may be free in the graph, a free one may not be fixed.
    ///
    /// Without `sizes` only the rank and the type are compared, for a graph of another than the first grid.
    func agrees(with spec: TensorSpec, sizes comparesSizes: Bool) -> Bool {
        guard dtype == spec.dtype, Int(axes) == spec.graphShape.count else { return false }
        return !comparesSizes || zip(shape, spec.graphShape).allSatisfy { $0 < 0 || .fixed(Int($0)) == $1 }
    }
}
