/// Tensors in memory as graphs take and give them.
extension Tensor {
    /// Returns the values as the bytes of a type.
    package func bytes(as dtype: Dtype) -> [UInt8] {
        switch (self, dtype) {
        case (.floats(let tensor), .float16): tensor.values.map { halfBits($0) }.bytes
        case (.floats(let tensor), _): tensor.values.bytes
        case (.integers(let tensor), .int64): tensor.values.map(Int64.init).bytes
        case (.integers(let tensor), .int32): tensor.values.map { Int32(truncatingIfNeeded: $0) }.bytes
        case (.integers(let tensor), _): tensor.values.map { UInt8(truncatingIfNeeded: $0) }
        }
    }

    /// Reads values that lie row by row without gaps. Throws `EngineError` for a type that no stage gives.
    package init(_ bytes: UnsafeRawBufferPointer, shape: [Int], dtype: Dtype?, stage: String) throws {
        switch dtype {
        case .float32: self = .floats(FloatTensor(shape: shape, values: Array(bytes.bindMemory(to: Float.self))))
        case .float16:
            let values = bytes.bindMemory(to: UInt16.self).map { float(half: $0) }
            self = .floats(FloatTensor(shape: shape, values: values))
        case .int64:
            self = .integers(IntegerTensor(shape: shape, values: bytes.bindMemory(to: Int64.self).map(Int.init)))
        case .int32:
            self = .integers(IntegerTensor(shape: shape, values: bytes.bindMemory(to: Int32.self).map(Int.init)))
        default: throw EngineError(stage: stage, "an output has a type that no stage gives")
        }
    }
}

extension Array {
    fileprivate var bytes: [UInt8] { withUnsafeBytes(Array<UInt8>.init) }
}

/// Returns the bits of a number in 16 bits, rounded to the nearest; Swift has no Float16 on Intel Macs.
func halfBits(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    let magnitude = value.magnitude
    if magnitude.isNaN { return sign | 0x7E00 }
    if magnitude >= 65520 { return sign | 0x7C00 }
    if magnitude < 0x1p-14 { return sign | UInt16((magnitude / 0x1p-24).rounded(.toNearestOrEven)) }
    let rounded: UInt32 = (bits & 0x7FFF_FFFF) + 0xFFF + ((bits >> 13) & 1)
    return sign | UInt16(truncatingIfNeeded: (rounded >> 13) - (112 << 10))
}

/// Returns the number that 16 bits stand for.
func float(half: UInt16) -> Float {
    let (exponent, fraction) = (UInt32(half >> 10) & 31, UInt32(half) & 0x3FF)
    let sign: Float = half & 0x8000 == 0 ? 1 : -1
    if exponent == 0 { return sign * Float(fraction) * 0x1p-24 }
    let bits: UInt32 = exponent == 31 ? 0x7F80_0000 | fraction << 13 : (exponent + 112) << 23 | fraction << 13
    return sign * Float(bitPattern: bits)
}
