// The part of Core ML that CoreMLEngine uses, with each declaration as its documentation page gives it, so that a machine
// without Apple's SDK can check the types. Nothing here runs. Classes are not Sendable, which is the stricter reading.
//
// Each address was compared with the page's text, but for those marked "not seen", whose pages were not at hand.
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

// https://developer.apple.com/documentation/coreml/mlpredictionoptions (not seen)
open class MLPredictionOptions: NSObject {}

// https://developer.apple.com/documentation/coreml/mlmodel
open class MLModel: NSObject {
    // https://developer.apple.com/documentation/coreml/mlmodel/load(contentsof:configuration:)
    open class func load(
        contentsOf url: URL, configuration: MLModelConfiguration = MLModelConfiguration()
    ) async throws -> MLModel { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmodel/compilemodel(at:)-3nea
    open class func compileModel(at modelURL: URL) async throws -> URL { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmodel/makestate()
    open func makeState() -> MLState { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmodel/prediction(from:using:options:)
    // The page shows the form that blocks; that there is one to await is seen in the example of MLState's page.
    open func prediction(
        from input: any MLFeatureProvider, using state: MLState, options: MLPredictionOptions = MLPredictionOptions()
    ) async throws -> any MLFeatureProvider { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmodel/prediction(from:options:)-3vg03
    open func prediction(
        from input: any MLFeatureProvider, options: MLPredictionOptions = MLPredictionOptions()
    ) async throws -> any MLFeatureProvider { fatalError("stub") }
}

// https://developer.apple.com/documentation/coreml/mlfeatureprovider (not seen)
public protocol MLFeatureProvider {
    // https://developer.apple.com/documentation/coreml/mlfeatureprovider/featurevalue(for:) (not seen)
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
    public convenience init(multiArray value: MLMultiArray) { self.init() }

    // https://developer.apple.com/documentation/coreml/mlfeaturevalue/multiarrayvalue (not seen)
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

    // https://developer.apple.com/documentation/coreml/mlmultiarray/shape (not seen)
    open var shape: [NSNumber] { [] }
    // https://developer.apple.com/documentation/coreml/mlmultiarray/strides (not seen)
    open var strides: [NSNumber] { [] }
    // https://developer.apple.com/documentation/coreml/mlmultiarray/datatype (not seen)
    open var dataType: MLMultiArrayDataType { .float32 }

    // https://developer.apple.com/documentation/coreml/mlmultiarray/withunsafemutablebytes(_:)
    public func withUnsafeMutableBytes<R>(
        _ body: (UnsafeMutableRawBufferPointer, [Int]) throws -> R
    ) rethrows -> R { fatalError("stub") }

    // https://developer.apple.com/documentation/coreml/mlmultiarray/withunsafebytes(_:)
    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { fatalError("stub") }
}
