/// Numbers of one shape, row by row. Integers of every width are held as 64 bits, floats of every width as 32.
public enum Tensor: Sendable, Equatable {
    case floats(FloatTensor)
    case integers(IntegerTensor)

    public var shape: [Int] {
        switch self {
        case .floats(let tensor): tensor.shape
        case .integers(let tensor): tensor.shape
        }
    }
}

public struct FloatTensor: Sendable, Equatable {
    public let shape: [Int]
    public var values: [Float]

    public init(shape: [Int], values: [Float]) {
        self.shape = shape
        self.values = values
    }

    /// The values in one row, that is in one index of the first dimension.
    public var rowSize: Int { shape.dropFirst().reduce(1, *) }

    /// Returns the rows at some indices.
    func rows(_ indices: [Int]) -> FloatTensor {
        var out: [Float] = []
        out.reserveCapacity(indices.count * rowSize)
        for row in indices { out += values[row * rowSize..<(row + 1) * rowSize] }
        return FloatTensor(shape: [indices.count] + shape.dropFirst(), values: out)
    }

    /// Replaces a row by values.
    mutating func setRow(_ row: Int, _ new: ArraySlice<Float>) {
        values.replaceSubrange(row * rowSize..<(row + 1) * rowSize, with: new)
    }

    func row(_ row: Int) -> ArraySlice<Float> { values[row * rowSize..<(row + 1) * rowSize] }
}

public struct IntegerTensor: Sendable, Equatable {
    public let shape: [Int]
    public let values: [Int]

    public init(shape: [Int], values: [Int]) {
        self.shape = shape
        self.values = values
    }

    /// Makes a tensor of one dimension.
    public init(_ values: [Int]) {
        self.init(shape: [values.count], values: values)
    }

    func rows(_ indices: [Int]) -> IntegerTensor {
        let rowSize = shape.dropFirst().reduce(1, *)
        let out = indices.flatMap { values[$0 * rowSize..<($0 + 1) * rowSize] }
        return IntegerTensor(shape: [indices.count] + shape.dropFirst(), values: out)
    }
}

extension Tensor {
    func rows(_ indices: [Int]) -> Tensor {
        switch self {
        case .floats(let tensor): .floats(tensor.rows(indices))
        case .integers(let tensor): .integers(tensor.rows(indices))
        }
    }
}
