// The part of Core ML that CoreMLEngine uses, with each declaration as its documentation page gives it, so that a machine
// without Apple's SDK can check the types. Nothing here runs. Classes are not Sendable, which is the stricter reading.
import Foundation

// https://developer.apple.com/documentation/coreml/mlcomputeunits
public enum MLComputeUnits: Int, Sendable {
    case cpuOnly = 0
    case cpuAndGPU = 1
    case all = 2
    case cpuAndNeuralEngine = 3
}

// https://developer.apple.com/documentation/coreml/mlmodelconfiguration
open class MLModelConfiguration: NSObject {
    // https://developer.apple.com/documentation/coreml/mlmodelconfiguration/computeunits
    open var computeUnits: MLComputeUnits = .all
    // https://developer.apple.com/documentation/coreml/mlmodelconfiguration/functionname
    open var functionName: String?
}

// https://developer.apple.com/documentation/coreml/mlstate
open class MLState: NSObject {}

// https://developer.apple.com/documentation/coreml/mlpredictionoptions
open class MLPredictionOptions: NSObject {}

// https://developer.apple.com/documentation/coreml/mlmodel
open class MLModel: NSObject {
    // https://developer.apple.com/documentation/coreml/mlmodel/load(contentsof:configuration:)
    open class func load(
        contentsOf url: URL, configuration: MLModelConfiguration = MLModelConfiguration()
    ) async throws -> MLModel { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmodel/compilemodel(at:)
    open class func compileModel(at modelURL: URL) async throws -> URL { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmodel/makestate()
    open func makeState() -> MLState { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmodel/prediction(from:using:options:)
    open func prediction(
        from input: any MLFeatureProvider, using state: MLState, options: MLPredictionOptions = MLPredictionOptions()
    ) async throws -> any MLFeatureProvider { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmodel/prediction(from:options:)
    open func prediction(
        from input: any MLFeatureProvider, options: MLPredictionOptions = MLPredictionOptions()
    ) async throws -> any MLFeatureProvider { fatalError("stub") }
}

// https://developer.apple.com/documentation/coreml/mlfeatureprovider
public protocol MLFeatureProvider {
    // https://developer.apple.com/documentation/coreml/mlfeatureprovider/featurevalue(for:)
    func featureValue(for featureName: String) -> MLFeatureValue?
}

// https://developer.apple.com/documentation/coreml/mldictionaryfeatureprovider
open class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    // https://developer.apple.com/documentation/coreml/mldictionaryfeatureprovider/init(dictionary:)
    public init(dictionary: [String: Any]) throws {}

    open func featureValue(for featureName: String) -> MLFeatureValue? { nil }
}

// https://developer.apple.com/documentation/coreml/mlfeaturevalue
open class MLFeatureValue: NSObject {
    // https://developer.apple.com/documentation/coreml/mlfeaturevalue/init(multiarray:)
    public init(multiArray value: MLMultiArray) {}

    // https://developer.apple.com/documentation/coreml/mlfeaturevalue/multiarrayvalue
    open var multiArrayValue: MLMultiArray? { nil }
}

// https://developer.apple.com/documentation/coreml/mlmultiarraydatatype
public enum MLMultiArrayDataType: Int, Sendable {
    case float64, float32, float16, int32
}

// https://developer.apple.com/documentation/coreml/mlmultiarray
open class MLMultiArray: NSObject {
    // https://developer.apple.com/documentation/coreml/mlmultiarray/init(shape:datatype:)
    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws {}

    // https://developer.apple.com/documentation/coreml/mlmultiarray/shape
    open var shape: [NSNumber] { [] }
    // https://developer.apple.com/documentation/coreml/mlmultiarray/strides
    open var strides: [NSNumber] { [] }
    // https://developer.apple.com/documentation/coreml/mlmultiarray/datatype
    open var dataType: MLMultiArrayDataType { .float32 }

    // https://developer.apple.com/documentation/coreml/mlmultiarray/withunsafemutablebytes(_:)
    public func withUnsafeMutableBytes<R>(
        _ body: (UnsafeMutableRawBufferPointer, [Int]) throws -> R
    ) rethrows -> R { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmultiarray/withunsafebytes(_:)
    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { fatalError("stub") }
}
