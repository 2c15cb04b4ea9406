import Foundation
import VLMPrune

/// What can go wrong, told apart by what a person has to do about it; `detail` is a file, a number or the engine's words.
public struct Problem: Equatable, Sendable, Error {
    public enum Kind: String, Sendable, CaseIterable {
        case oldBundle, newBundle, corruptBundle, wrongTarget, noBundleInFolder, lowMemory, noSpace, unreadablePhoto
        case unreadableFile, noCamera, refusedRequest, engineFailed
    }

    public let kind: Kind
    public let detail: String

    public init(_ kind: Kind, _ detail: String = "") {
        self.kind = kind
        self.detail = detail
    }

    /// Sorts an error into the kinds; what is unknown is told in its own words.
    public init(_ error: any Error) {
        switch error {
        case let problem as Problem: self = problem
        case let error as BundleError: self = Problem(bundle: error)
        case let error as BadRequest: self = Problem(.refusedRequest, error.message)
        case let error as EngineError: self = Problem(.engineFailed, error.message)
        default: self = Problem(system: error as NSError)
        }
    }

    private init(bundle error: BundleError) {
        guard error.field == "schema" || error.field == "schema_version" || error.field?.hasPrefix("schema.") == true
        else {
            self.init(.corruptBundle, error.message)
            return
        }
        self.init(error.message.contains("newer") ? .newBundle : .oldBundle)
    }

    private init(system error: NSError) {
        let isFull = error.domain == NSCocoaErrorDomain && error.code == CocoaError.fileWriteOutOfSpace.rawValue
        self.init(isFull ? .noSpace : .unreadableFile, error.localizedDescription)
    }
}
